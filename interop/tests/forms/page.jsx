// A form as react-hook-form's documentation shows it: the server checks the values, and its errors are set by their pointers.
import React from "react";
import { createRoot } from "react-dom/client";
import { useFieldArray, useForm } from "react-hook-form";

function Order() {
  const { control, register, handleSubmit, setError, clearErrors, formState } = useForm({
    defaultValues: { fullName: "", email: "", age: "", lines: [{ sku: "", count: "" }, { sku: "", count: "" }] },
  });
  const { fields } = useFieldArray({ control, name: "lines" });
  const send = async (values) => {
    clearErrors();
    const response = await fetch("/orders", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(values),
    });
    if (!response.ok) {
      const problem = await response.json();
      for (const { pointer, code, detail } of problem.errors) {
        setError(pointer.slice(1).replaceAll("/", "."), { type: code, message: detail });
      }
    }
    document.title = `answer ${response.status}`;
  };
  const message = (name) => name.split(".").reduce((errors, step) => errors?.[step], formState.errors)?.message;
  const field = (name, options) => (
    <label key={name}>
      {name} <input {...register(name, options)} /> <em data-for={name}>{message(name)}</em>
    </label>
  );
  return (
    <form onSubmit={handleSubmit(send)}>
      {field("fullName")} {field("email")} {field("age", { valueAsNumber: true })}
      {fields.map((line, index) => (
        <p key={line.id}>
          {field(`lines.${index}.sku`)} {field(`lines.${index}.count`, { valueAsNumber: true })}
        </p>
      ))}
      <button>Send</button>
    </form>
  );
}

createRoot(document.querySelector("main")).render(<Order />);
