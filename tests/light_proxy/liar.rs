//! A node between the proxy and the chain's own that changes one thing in what is answered. It stands on loopback and knows no
//! other network than the test's own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// One lie: a question (method and parameters), and what stands at a place of its answer instead.
#[derive(Debug, Clone)]
pub(crate) struct Lie {
    pub(crate) question: String,
    pub(crate) place: String,
    pub(crate) instead: Value,
}

/// The forwarder.
#[derive(Debug)]
pub(crate) struct Liar {
    pub(crate) url: String,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    node: String,
    http: reqwest::Client,
    lie: Mutex<Option<Lie>>,
    heard: Mutex<BTreeMap<String, Value>>,
}

impl Liar {
    pub(crate) fn serve(node: String, runtime: &Runtime) -> Self {
        let plan = Arc::new(Plan { node, http: reqwest::Client::new(), lie: Mutex::default(), heard: Mutex::default() });
        let shared = Arc::clone(&plan);
        let url = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("bound"));
            let router = Router::new().fallback(answer).with_state(shared);
            tokio::spawn(async move { axum::serve(listener, router).await });
            url
        });
        Self { url, plan }
    }

    /// Tells the truth from now on, and forgets what it was asked.
    pub(crate) fn be_honest(&self) {
        *self.plan.lie.lock().expect("no panic") = None;
        self.plan.heard.lock().expect("no panic").clear();
    }

    pub(crate) fn tell(&self, lie: Lie) {
        *self.plan.lie.lock().expect("no panic") = Some(lie);
    }

    /// What it was asked since it became honest, and answered.
    pub(crate) fn heard(&self) -> BTreeMap<String, Value> {
        self.plan.heard.lock().expect("no panic").clone()
    }
}

async fn answer(State(plan): State<Arc<Plan>>, question: String) -> Result<String, StatusCode> {
    let asked: Value = serde_json::from_str(&question).map_err(|_| StatusCode::BAD_REQUEST)?;
    let name = format!("{} {}", asked["method"].as_str().unwrap_or_default(), asked["params"]);
    let passed = plan.http.post(&plan.node).body(question).send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let mut told: Value = passed.json().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    if let Some(result) = told.get_mut("result") {
        plan.heard.lock().expect("no panic").insert(name.clone(), result.clone());
        let lie = plan.lie.lock().expect("no panic").clone().filter(|lie| lie.question == name);
        if let Some(lie) = lie
            && let Some(place) = result.pointer_mut(&lie.place)
        {
            *place = lie.instead;
        }
    }
    Ok(told.to_string())
}

/// Every single change of an answer that is worth telling: each value another of its kind, each value gone, and each list
/// without its last and with its first twice.
pub(crate) fn changes(answer: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    collect(answer, String::new(), &mut found);
    found
}

fn collect(value: &Value, place: String, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                collect(field, format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(all) => {
            if let Some((first, rest)) = all.split_first() {
                found.push((place.clone(), all[..all.len() - 1].into()));
                found.push((place.clone(), [&[first.clone(), first.clone()], rest].concat().into()));
            }
            for (index, item) in all.iter().enumerate() {
                collect(item, format!("{place}/{index}"), found);
            }
        }
        Value::String(text) => {
            found.push((place.clone(), other(text).into()));
            found.push((place, Value::Null));
        }
        Value::Number(number) => found.push((place, (number.as_i64().unwrap_or_default() + 1).into())),
        Value::Bool(flag) => found.push((place, (!flag).into())),
        Value::Null => found.push((place, json!("AQ=="))),
    }
}

/// Another text of the same form: a number one higher, a time, digits or base64 with another first letter.
fn other(text: &str) -> String {
    if let Ok(number) = text.parse::<i64>() {
        return (number + 1).to_string();
    }
    if text.len() > 20 && text.ends_with('Z') && text.contains('T') {
        return text.replacen("20", "21", 1);
    }
    match text.chars().next() {
        None => "AQ==".to_owned(),
        Some('A') => format!("B{}", &text[1..]),
        Some(first) => format!("A{}", &text[first.len_utf8()..]),
    }
}
