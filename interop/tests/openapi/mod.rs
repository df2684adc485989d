//! The documents of the examples `openapi` and `api`, in the programs for which people write such documents: schemathesis, validators, a generator of clients.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::ports::free_port;
use crate::support::programs::{Folder, example};

/// An example, which is stopped when this is dropped.
struct Running {
    program: Child,
    /// Kept open: a program that can't print ends.
    _output: BufReader<ChildStdout>,
    url: String,
    token: String,
    folder: Folder,
}

/// The secrets of the examples, which schemathesis sends by the names of the security schemes.
const PARTNER_KEY: &str = "an-example-secret-of-a-partner";

impl Running {
    fn start(name: &str) -> Self {
        let folder = Folder::new();
        let port = free_port();
        let mut program = Command::new(example(name));
        program.env("PORT", port.to_string()).env("DATABASE", folder.join("posts.db"));
        program.env("PARTNER_KEY", PARTNER_KEY).env("API_TOKEN", PARTNER_KEY);
        program.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut program = program.spawn().unwrap();
        let mut output = BufReader::new(program.stdout.take().unwrap());
        // Both print a token of an administrator: one in a line of its own, the other in a command.
        let token = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "{name} prints no token");
            let words = || line.split([' ', '\'', '\n']);
            let token = words().find(|word| word.starts_with("eyJ"));
            if let Some(token) =
                token.filter(|_| words().count() == 2 || line.contains("/api/admin"))
            {
                break token.to_owned();
            }
        };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "it does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        let url = format!("http://127.0.0.1:{port}");
        Self { program, _output: output, url, token, folder }
    }

    /// Writes a document to a file.
    fn write(&self, document: &Value) {
        std::fs::write(self.folder.join("openapi.json"), document.to_string()).unwrap();
    }

    /// Runs schemathesis with the document in the file.
    fn schemathesis(&self, programs: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(programs.join("schemathesis"));
        std::fs::write(self.folder.join("hooks.py"), include_str!("hooks.py")).unwrap();
        let settings = include_str!("schemathesis.toml")
            .replace("TOKEN", &self.token)
            .replace("PARTNER_KEY", PARTNER_KEY);
        std::fs::write(self.folder.join("schemathesis.toml"), settings).unwrap();
        command.current_dir(&*self.folder).args(["run", "openapi.json", "--url", &self.url]);
        command.args(["--checks", "all", "--seed", "1", "--generation-database", "none"]);
        command.args(arguments).output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn document(name: &str) -> Value {
    let mut print = Command::new(example(name));
    let output = print.arg("--print-openapi").env("PORT", "0").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn succeeds(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Installs Python programs, and returns the folder in which they are.
fn python(folder: &Path, packages: &[&str]) -> std::path::PathBuf {
    let environment = folder.join("python");
    let mut create = Command::new("python3");
    create.args(["-m", "venv"]).arg(&environment);
    succeeds(create);
    let mut install = Command::new(environment.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages);
    succeeds(install);
    environment.join("bin")
}

#[test]
#[cfg_attr(not(python), ignore = "python3 is not installed")]
fn schemathesis_finds_nothing_and_then_each_false_statement() {
    let shop = Running::start("openapi");
    let programs = python(&shop.folder, &["schemathesis>=4.32", "openapi-spec-validator"]);
    let document = document("openapi");
    finds_nothing(&shop, &document, &programs);
    finds_nothing(&Running::start("api"), &self::document("api"), &programs);
    for (name, path, change) in false_statements() {
        let mut wrong = document.clone();
        for (_, operation) in wrong["paths"][path].as_object_mut().unwrap() {
            inline_responses(operation, &document);
        }
        change(&mut wrong["paths"][path]);
        assert_ne!(wrong, document, "{name}");
        shop.write(&wrong);
        let output =
            shop.schemathesis(&programs, &["--max-examples", "20", "--include-path", path]);
        assert!(!output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Runs all checks on all operations of an example.
fn finds_nothing(example: &Running, document: &Value, programs: &Path) {
    example.write(document);
    let mut validator = Command::new(programs.join("openapi-spec-validator"));
    validator.arg(example.folder.join("openapi.json"));
    succeeds(validator);
    let clean = example.schemathesis(programs, &["--max-examples", "4"]);
    let text = String::from_utf8_lossy(&clean.stdout);
    assert!(clean.status.success(), "{text}");
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values());
    let count = operations.filter(|one| one.get("operationId").is_some()).count();
    assert!(text.contains(&format!("Tested: {count}")), "{count}\n{text}");
}

/// Replaces the references to shared responses, which a change would affect elsewhere.
fn inline_responses(operation: &mut Value, document: &Value) {
    for (_, response) in
        operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten()
    {
        let path =
            response.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
        if let Some(shared) = path.and_then(|path| document.pointer(path)) {
            *response = shared.clone();
        }
    }
}

type Change = fn(&mut Value);

/// Statements that are not true, each at a path.
fn false_statements() -> [(&'static str, &'static str, Change); 10] {
    [
        ("another status", "/health", |item| {
            let response = item["get"]["responses"]["200"].take();
            item["get"]["responses"] = json!({ "202": response });
        }),
        ("another media type", "/health", |item| {
            item["get"]["responses"]["200"]["content"] = json!({ "application/json": {} });
        }),
        ("a field that is not sent", "/health", |item| {
            item["get"]["responses"]["200"]["headers"]["x-absent"] =
                json!({ "required": true, "schema": { "type": "string" } });
        }),
        ("another type", "/categories", |item| {
            item["get"]["responses"]["200"]["content"]["application/json"]["schema"] =
                json!({ "type": "object" });
        }),
        // The first round deletes articles, so no statement is about one of them.
        ("a member that is missing", "/account/me", |item| {
            item["get"]["responses"]["200"]["content"]["application/json"]["schema"] =
                json!({ "type": "object", "required": ["weight"] });
        }),
        ("no refusal of the input", "/search", |item| {
            item["get"]["responses"].as_object_mut().unwrap().remove("400");
        }),
        ("credentials that are not needed", "/categories", |item| {
            item["get"]["security"] = json!([{ "bearer-JWT": [] }]);
        }),
        ("a longer text", "/contact", |item| {
            let form =
                &mut item["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"];
            form["schema"]["properties"]["message"]["minLength"] = json!(600);
            form["schema"]["properties"]["message"]["maxLength"] = json!(700);
        }),
        ("a parameter of another type", "/search", |item| {
            for parameter in item["get"]["parameters"].as_array_mut().unwrap() {
                if parameter["name"] == "sold_out" {
                    parameter["schema"] = json!({ "type": "integer" });
                }
            }
        }),
        ("a method that is missing", "/search", |item| {
            item.as_object_mut().unwrap().remove("post");
        }),
    ]
}

#[test]
#[cfg_attr(not(npm), ignore = "npm is not installed")]
fn linters_accept_the_document_and_a_typed_client_follows_it() {
    let shop = Running::start("openapi");
    shop.write(&document("openapi"));
    let folder = &*shop.folder;
    std::fs::write(folder.join("package.json"), "{\"private\":true,\"type\":\"module\"}").unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(folder)
            .env("SHOP", &shop.url)
            .env("TOKEN", &shop.token);
        command
    };
    succeeds(run(
        "npm",
        &[
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "@redocly/cli@2",
            "openapi-typescript@7",
            "openapi-fetch@0.17",
            "typescript@5",
            "@types/node@24",
        ],
    ));
    std::fs::write(folder.join("api.json"), document("api").to_string()).unwrap();
    succeeds(run("npx", &["redocly", "lint", "--extends", "spec", "openapi.json", "api.json"]));
    succeeds(run("npx", &["openapi-typescript", "openapi.json", "--output", "schema.d.ts"]));
    std::fs::write(folder.join("client.ts"), include_str!("client.ts")).unwrap();
    let compile = [
        "tsc",
        "--strict",
        "--module",
        "nodenext",
        "--target",
        "es2022",
        "--skipLibCheck",
        "client.ts",
    ];
    succeeds(run("npx", &compile));
    assert_eq!(succeeds(run("node", &["client.js"])).trim_end(), "A novel, 404, 201, 422");
    // The program does not compile with another name of a field.
    let types = std::fs::read_to_string(folder.join("schema.d.ts")).unwrap();
    std::fs::write(folder.join("schema.d.ts"), types.replace(" name: string", " label: string"))
        .unwrap();
    assert!(!run("npx", &compile).output().unwrap().status.success());
}
