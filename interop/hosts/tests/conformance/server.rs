//! The MCP server that `@modelcontextprotocol/conformance` asks for: its tools, resources and prompts with the contents that its scenarios name.

use rmcp::model::*;
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A PNG of one pixel, and a WAV without samples.
const IMAGE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg==";
const AUDIO: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";

pub const TOOLS: [&str; 14] = [
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_tool_with_logging",
    "test_tool_with_progress",
    "test_error_handling",
    "test_sampling",
    "test_elicitation",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "json_schema_2020_12_tool",
    "test_reconnection",
];

#[derive(Clone)]
pub struct Everything;

type Context = RequestContext<RoleServer>;

fn answer<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn text(text: impl Into<String>) -> Value {
    json!({ "type": "text", "text": text.into() })
}

fn image() -> Value {
    json!({ "type": "image", "data": IMAGE, "mimeType": "image/png" })
}

fn resource(uri: &str, mime_type: &str, text: &str) -> Value {
    json!({ "type": "resource", "resource": { "uri": uri, "mimeType": mime_type, "text": text } })
}

fn schema(tool: &str) -> Value {
    let required = |name: &str| json!({ "type": "object", "properties": { name: { "type": "string" } }, "required": [name] });
    match tool {
        "test_sampling" => required("prompt"),
        "test_elicitation" => required("message"),
        "json_schema_2020_12_tool" => json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": { "address": {
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            } },
            "properties": { "name": { "type": "string" }, "address": { "$ref": "#/$defs/address" } },
            "additionalProperties": false,
        }),
        _ => json!({ "type": "object", "properties": {} }),
    }
}

/// The form of each tool that asks the user.
fn form(tool: &str) -> Option<Value> {
    let choices = |titles: [&str; 3]| {
        let choice = |(i, title)| json!({ "const": format!("value{i}"), "title": title });
        (1..).zip(titles).map(choice).collect::<Value>()
    };
    let properties = match tool {
        "test_elicitation" => json!({
            "username": { "type": "string", "description": "User's response" },
            "email": { "type": "string", "description": "User's email address" },
        }),
        "test_elicitation_sep1034_defaults" => json!({
            "name": { "type": "string", "default": "John Doe" },
            "age": { "type": "integer", "default": 30 },
            "score": { "type": "number", "default": 95.5 },
            "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
            "verified": { "type": "boolean", "default": true },
        }),
        "test_elicitation_sep1330_enums" => json!({
            "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
            "titledSingle": { "type": "string", "oneOf": choices(["First Option", "Second Option", "Third Option"]) },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": { "type": "array", "items": { "type": "string", "enum": ["option1", "option2", "option3"] } },
            "titledMulti": { "type": "array", "items": { "anyOf": choices(["First Choice", "Second Choice", "Third Choice"]) } },
        }),
        _ => return None,
    };
    let required =
        if tool == "test_elicitation" { json!(["username", "email"]) } else { json!([]) };
    Some(json!({ "type": "object", "properties": properties, "required": required }))
}

impl Everything {
    async fn content(tool: &str, arguments: Value, cx: &Context) -> Result<Value, ErrorData> {
        let failed = |error: rmcp::ServiceError| ErrorData::internal_error(error.to_string(), None);
        if let Some(form) = form(tool) {
            let message = arguments["message"].as_str().unwrap_or("Please fill in this form");
            let params = json!({ "mode": "form", "message": message, "requestedSchema": form });
            let reply = cx.peer.create_elicitation(answer(params)?).await.map_err(failed)?;
            return Ok(json!([text(format!("User response: {}", json!(reply)))]));
        }
        Ok(match tool {
            "test_simple_text" => json!([text("This is a simple text response for testing.")]),
            "test_image_content" => json!([image()]),
            "test_audio_content" => {
                json!([{ "type": "audio", "data": AUDIO, "mimeType": "audio/wav" }])
            }
            "test_embedded_resource" => json!([resource(
                "test://embedded-resource",
                "text/plain",
                "This is an embedded resource content."
            )]),
            "test_multiple_content_types" => json!([
                text("Multiple content types test:"),
                image(),
                resource(
                    "test://mixed-content-resource",
                    "application/json",
                    r#"{"test":"data","value":123}"#
                ),
            ]),
            "test_tool_with_logging" => {
                for message in ["started", "processing", "completed"] {
                    let params = json!({ "level": "info", "data": format!("Tool {message}") });
                    cx.peer.notify_logging_message(answer(params)?).await.map_err(failed)?;
                }
                json!([text("logged")])
            }
            "test_tool_with_progress" => {
                if let Some(token) = cx.meta.get_progress_token() {
                    for progress in [0, 50, 100] {
                        let params =
                            json!({ "progressToken": token, "progress": progress, "total": 100 });
                        cx.peer.notify_progress(answer(params)?).await.map_err(failed)?;
                    }
                }
                json!([text("done")])
            }
            "test_sampling" => {
                let message = json!({ "role": "user", "content": text(arguments["prompt"].as_str().unwrap_or_default()) });
                let params = json!({ "messages": [message], "maxTokens": 100 });
                let reply = cx.peer.create_message(answer(params)?).await.map_err(failed)?;
                json!([text(format!("LLM response: {}", json!(reply)))])
            }
            "json_schema_2020_12_tool" | "test_reconnection" => json!([text("done")]),
            _ => return Err(ErrorData::invalid_params(format!("No tool {tool}"), None)),
        })
    }
}

impl ServerHandler for Everything {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_logging()
            .enable_prompts()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .build();
        ServerConfig::new(capabilities)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name| json!({ "name": name, "description": name, "inputSchema": schema(name) });
        answer(json!({ "tools": TOOLS.map(tool) }))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        cx: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name == "test_error_handling" {
            let message = "This tool intentionally returns an error for testing";
            let failed = json!({ "content": [text(message)], "isError": true });
            return answer::<CallToolResult>(failed).map(Into::into);
        }
        let arguments = json!(request.arguments);
        let content = Self::content(&request.name, arguments, &cx).await?;
        answer::<CallToolResult>(json!({ "content": content })).map(Into::into)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourcesResult, ErrorData> {
        answer(json!({ "resources": [
            { "uri": "test://static-text", "name": "text", "description": "a text", "mimeType": "text/plain" },
            { "uri": "test://static-binary", "name": "binary", "description": "an image", "mimeType": "image/png" },
            { "uri": "test://watched-resource", "name": "watched", "description": "a text", "mimeType": "text/plain" },
        ] }))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        answer(json!({ "resourceTemplates": [
            { "uriTemplate": "test://template/{id}/data", "name": "template", "mimeType": "application/json" },
        ] }))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = &*request.uri;
        let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
        let content = match (uri, id) {
            (_, Some(id)) => {
                let data =
                    json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
                json!({ "uri": uri, "mimeType": "application/json", "text": data.to_string() })
            }
            ("test://static-binary", _) => {
                json!({ "uri": uri, "mimeType": "image/png", "blob": IMAGE })
            }
            ("test://static-text" | "test://watched-resource", _) => {
                json!({ "uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource." })
            }
            _ => return Err(ErrorData::resource_not_found("No such resource", None)),
        };
        answer::<ReadResourceResult>(json!({ "contents": [content] })).map(Into::into)
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListPromptsResult, ErrorData> {
        let argument = |name: &str| json!({ "name": name, "description": name, "required": true });
        answer(json!({ "prompts": [
            { "name": "test_simple_prompt", "description": "a text" },
            { "name": "test_prompt_with_arguments", "description": "two arguments", "arguments": [argument("arg1"), argument("arg2")] },
            { "name": "test_prompt_with_embedded_resource", "description": "a resource", "arguments": [argument("resourceUri")] },
            { "name": "test_prompt_with_image", "description": "an image" },
        ] }))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        let arguments = json!(request.arguments);
        let argument = |name: &str| arguments[name].as_str().unwrap_or_default();
        let contents = match &*request.name {
            "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
            "test_prompt_with_arguments" => {
                let (first, second) = (argument("arg1"), argument("arg2"));
                vec![text(format!("Prompt with arguments: arg1='{first}', arg2='{second}'"))]
            }
            "test_prompt_with_embedded_resource" => vec![
                resource(
                    argument("resourceUri"),
                    "text/plain",
                    "Embedded resource content for testing.",
                ),
                text("Please process the embedded resource above."),
            ],
            "test_prompt_with_image" => vec![image(), text("Please analyze the image above.")],
            _ => return Err(ErrorData::invalid_params("No such prompt", None)),
        };
        let message = |content| json!({ "role": "user", "content": content });
        let messages: Vec<Value> = contents.into_iter().map(message).collect();
        answer::<GetPromptResult>(json!({ "messages": messages })).map(Into::into)
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: Context,
    ) -> Result<CompleteResult, ErrorData> {
        answer(
            json!({ "completion": { "values": ["paris", "park"], "total": 2, "hasMore": false } }),
        )
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }
}
