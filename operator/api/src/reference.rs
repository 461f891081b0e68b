//! docs/api.md: every field of the CRD with its type, default, bounds and meaning, and the rules. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use std::fmt::Write as _;

/// The command that writes the file.
const COMMAND: &str = "cargo run -p operator -- crds --reference > docs/api.md";

/// The reference as Markdown.
#[must_use]
pub fn markdown(crd: &CustomResourceDefinition) -> String {
    let (group, kind) = (&crd.spec.group, &crd.spec.names.kind);
    let mut out =
        format!("# {kind}\n\nGenerated from the types by `{COMMAND}`; a test says when it is stale.\n");
    for version in &crd.spec.versions {
        line(&mut out, &format!("\n`apiVersion: {group}/{}`, `kind: {kind}`", version.name));
        let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
        for part in ["spec", "status"] {
            if let Some(schema) = schema.and_then(|s| s.properties.as_ref()).and_then(|all| all.get(part)) {
                section(&mut out, part, schema);
            }
        }
    }
    out
}

/// One table for an object, its rules, and a section for each object within.
fn section(out: &mut String, path: &str, schema: &JSONSchemaProps) {
    let Some(properties) = schema.properties.as_ref().filter(|p| !p.is_empty()) else { return };
    line(out, &format!("\n## {path}\n"));
    if let Some(text) = &schema.description {
        line(out, &format!("{}\n", sentence(text)));
    }
    line(out, "| field | type | default | meaning |\n|---|---|---|---|");
    for (name, field) in properties {
        let default = field.default.as_ref().map(|d| format!("`{}`", d.0)).unwrap_or_default();
        let meaning = field.description.as_deref().map(sentence).unwrap_or_default();
        let shown = [name.as_str(), &type_of(field), &default, &meaning].map(|cell| cell.replace('|', "\\|"));
        line(out, &format!("| {} |", shown.join(" | ")));
    }
    rules(out, schema);
    for (name, field) in properties {
        match items(field) {
            Some(item) => section(out, &format!("{path}.{name}[]"), item),
            None => section(out, &format!("{path}.{name}"), field),
        }
    }
}

/// What the API server refuses, in the words of the refusal; those of a list's field stand with the object.
fn rules(out: &mut String, schema: &JSONSchemaProps) {
    let own = schema.x_kubernetes_validations.iter().flatten();
    let of_fields = schema.properties.iter().flatten().filter(|(_, f)| f.properties.is_none());
    let of_fields = of_fields.flat_map(|(_, f)| f.x_kubernetes_validations.iter().flatten());
    let messages: Vec<&str> = own.chain(of_fields).filter_map(|rule| rule.message.as_deref()).collect();
    if !messages.is_empty() {
        line(out, "\nRules:\n");
        messages.iter().for_each(|message| line(out, &format!("- {message}")));
    }
}

fn items(field: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match field.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(item) => Some(item),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

fn type_of(field: &JSONSchemaProps) -> String {
    if field.x_kubernetes_int_or_string == Some(true) {
        return "string or integer".into();
    }
    let of = |item: &JSONSchemaProps| type_of(item);
    let mut text = match (field.type_.as_deref(), items(field), &field.additional_properties) {
        (Some("array"), Some(item), _) => format!("list of {}", of(item)),
        (Some("object"), _, Some(JSONSchemaPropsOrBool::Schema(value))) => format!("map to {}", of(value)),
        (Some(kind), ..) => kind.to_owned(),
        (None, ..) => "any".into(),
    };
    text.push_str(&bounds(field));
    text
}

fn bounds(field: &JSONSchemaProps) -> String {
    let mut parts = Vec::new();
    match (field.minimum, field.maximum) {
        (Some(low), Some(high)) => parts.push(format!("{low} to {high}")),
        (Some(low), None) => parts.push(format!("at least {low}")),
        (None, Some(high)) => parts.push(format!("at most {high}")),
        (None, None) => {}
    }
    let names: Vec<String> = field.enum_.iter().flatten().map(|value| format!("`{}`", value.0)).collect();
    if !names.is_empty() {
        parts.push(names.join(", "));
    }
    if let Some(pattern) = &field.pattern {
        parts.push(format!("`{pattern}`"));
    }
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join("; ")) }
}

/// One paragraph on one line.
fn sentence(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}
