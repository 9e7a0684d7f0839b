//! Holds answers against `openapi.json`: the few keywords that it uses, and no others.
//!
//! Stricter than JSON Schema in one thing: a field that the description does not know is an error.

use serde_json::Value;

/// All that is wrong with an answer to a path's method and status.
pub(super) fn problems(api: &Value, path: &str, status: u16, answer: &Value) -> Vec<String> {
    let operations = api["paths"][path].as_object().expect("the path is described");
    let operation = operations.values().next().expect("a path has a method");
    let response = &operation["responses"][status.to_string()];
    let schema = &response["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{path}: {status} is described");
    problems_of(api, schema, answer, path)
}

fn problems_of(api: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let keywords = schema.as_object().expect("a schema is an object");
    let each = keywords.iter().map(|(word, rule)| match word.as_str() {
        "$ref" => problems_of(api, referred(api, rule), value, at),
        "type" => wrong_if(!is_of_type(rule, value), || format!("{at}: {value} is no {rule}")),
        "enum" => {
            let known = rule.as_array().expect("an enum is a list").contains(value);
            wrong_if(!known, || format!("{at}: {value} is none of {rule}"))
        }
        "const" => wrong_if(rule != value, || format!("{at}: {value} is not {rule}")),
        "anyOf" => any(api, rule, value, at),
        "required" => missing(rule, value, at),
        "properties" => fields(api, schema, value, at),
        "items" => items(api, rule, value, at),
        "additionalProperties" => values(api, rule, value, at),
        "description" | "format" => Vec::new(),
        other => vec![format!("{at}: the keyword {other} is not known here")],
    });
    each.flatten().collect()
}

fn referred<'a>(api: &'a Value, rule: &Value) -> &'a Value {
    let pointer = rule.as_str().and_then(|text| text.strip_prefix('#')).expect("a reference");
    api.pointer(pointer).unwrap_or_else(|| panic!("{pointer} leads nowhere"))
}

fn is_of_type(rule: &Value, value: &Value) -> bool {
    match rule.as_str() {
        None => rule.as_array().expect("types").iter().any(|rule| is_of_type(rule, value)),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("integer") => value.is_i64() || value.is_u64(),
        // Tells floats from integers, as the specification's examples do.
        Some("number") => value.is_f64(),
        Some(other) => panic!("the type {other} is not known here"),
    }
}

fn any(api: &Value, rule: &Value, value: &Value, at: &str) -> Vec<String> {
    let choices = rule.as_array().expect("anyOf is a list");
    let all: Vec<Vec<String>> = choices.iter().map(|c| problems_of(api, c, value, at)).collect();
    if all.iter().any(Vec::is_empty) { Vec::new() } else { all.concat() }
}

fn missing(rule: &Value, value: &Value, at: &str) -> Vec<String> {
    let names = rule.as_array().expect("required is a list").iter().filter_map(Value::as_str);
    names
        .filter(|name| value.get(name).is_none())
        .map(|name| format!("{at}.{name}: missing"))
        .collect()
}

fn fields(api: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let Some(object) = value.as_object() else { return Vec::new() };
    let check = |(name, field): (&String, &Value)| {
        let at = format!("{at}.{name}");
        match schema["properties"].get(name) {
            Some(schema) => problems_of(api, schema, field, &at),
            None => vec![format!("{at}: not described")],
        }
    };
    object.iter().flat_map(check).collect()
}

fn items(api: &Value, rule: &Value, value: &Value, at: &str) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items
        .enumerate()
        .flat_map(|(n, item)| problems_of(api, rule, item, &format!("{at}[{n}]")))
        .collect()
}

fn values(api: &Value, rule: &Value, value: &Value, at: &str) -> Vec<String> {
    let values = value.as_object().into_iter().flatten();
    values
        .flat_map(|(name, value)| problems_of(api, rule, value, &format!("{at}.{name}")))
        .collect()
}

fn wrong_if(wrong: bool, problem: impl FnOnce() -> String) -> Vec<String> {
    if wrong { vec![problem()] } else { Vec::new() }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let api = super::openapi::description();
    let check = |path: &str, answer: Value, expected: &[&str]| {
        assert_eq!(problems(&api, path, 200, &answer), expected);
    };
    let reset = "/api/v1/database/pool/reset-metrics";
    check(reset, serde_json::json!({"message": "m", "target": "t"}), &[]);
    let twice =
        [format!("{reset}.message: 1 is no \"string\""), format!("{reset}.x: not described")];
    let twice = [twice[0].as_str(), twice[1].as_str()];
    check(reset, serde_json::json!({"message": 1, "target": "t", "x": 1}), &twice);
    let missing = format!("{reset}.target: missing");
    check(reset, serde_json::json!({"message": "m"}), &[missing.as_str()]);
}
