//! Limits for each caller, over real gRPC: who is denied, how it is told, and
//! what a reload keeps.

use std::collections::BTreeMap;

use claimgate::{issuer::signing::SigningKey, provider::oauth2::Algorithm, time::UnixTime};
use envoy_types::pb::{
    envoy::service::auth::v3::{CheckResponse, check_response::HttpResponse},
    google::protobuf::{Value, value::Kind},
};
use serde_json::{Value as Json, json};

use crate::support::{
    envoy::{Client, check, check_token, code, connect, http, reason, status},
    folder::Folder,
    http,
    mint::header,
    service::Service,
    wait::eventually,
};

/// Two callers on `free`, one on `gold`, one without a plan.
fn config(limits: &str) -> String {
    format!(
        r#"
server: {{grpc: {{address: "127.0.0.1:0"}}, admin: {{address: "127.0.0.1:0"}}}}
auth:
  providers:
    - name: keys
      type: api_key
      keys:
        - {{name: one, key: key-one, claims: {{plan: free, org: acme}}, scopes: [read]}}
        - {{name: two, key: key-two, claims: {{plan: free, client_id: one}}, scopes: [read]}}
        - {{name: rich, key: key-rich, plan: gold, scopes: [read]}}
        - {{name: other, key: key-other, claims: {{plan: platinum}}, scopes: [read]}}
        - {{name: plain, key: key-plain, scopes: [read]}}
  routes:
    - {{name: free-of-charge, match: {{path: /health}}, limits: none}}
    - {{name: dear, match: {{path: /dear}}, cost: 2}}
    - {{name: admin, match: {{path: /admin}}, required_scopes: [admin]}}
    - {{name: openai, match: {{path: /openai}}, error_format: openai}}
    - {{name: anthropic, match: {{path: /anthropic}}, error_format: anthropic}}
    - {{name: problem, match: {{path: /problem}}, error_format: problem}}
  {limits}
"#
    )
}

const PLANS: &str =
    "plans: {free: {requests: {per_hour: 3}}, gold: {requests: {per_hour: 100, burst: 5}}}";

struct Gateway {
    folder: Folder,
    service: Service,
    client: Client,
}

impl Gateway {
    async fn start(limits: &str) -> Self {
        let folder = Folder::new(&config(limits));
        let service = Service::start(&folder.config()).await;
        let client = connect(&service.grpc).await;
        Self { folder, service, client }
    }

    async fn send(&mut self, who: &str, path: &str) -> CheckResponse {
        let token = format!("Bearer key-{who}");
        let request = check(http("POST", path, &[("authorization", &token)]));
        self.client.check(request).await.expect("the call succeeds").into_inner()
    }

    /// How many of `number` requests are allowed; all others are over the limit.
    async fn allowed(&mut self, who: &str, path: &str, number: usize) -> usize {
        let mut allowed = 0;
        for _ in 0..number {
            let response = self.send(who, path).await;
            match status(&response) {
                200 => allowed += 1,
                status => assert_eq!((status, reason(&response)), (429, "rate_limited")),
            }
        }
        allowed
    }

    async fn metric(&self, plan: &str, result: &str) -> f64 {
        let series = format!("claimgate_limits_total{{plan=\"{plan}\",result=\"{result}\"}}");
        http::metric(&self.service.admin, &series).await
    }

    async fn reload(&self, limits: &str) {
        let text = config(limits);
        self.folder.write("gateway.yaml", &text);
        self.service.reload().await;
        // Not by the number of reloads: the file before may be noticed late.
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let digest = format!("sha256:{}", hex::encode(hash));
        let url = format!("http://{}/status.json", self.service.admin);
        eventually("it is reloaded", async || {
            let status: Json = reqwest::get(&url).await.unwrap().json().await.unwrap();
            status["config"]["digest"] == digest
        })
        .await;
    }
}

fn denied(response: &CheckResponse) -> (BTreeMap<String, String>, String) {
    let Some(HttpResponse::DeniedResponse(denied)) = &response.http_response else {
        panic!("allowed")
    };
    let headers = denied.headers.iter().filter_map(|option| option.header.clone());
    (headers.map(|header| (header.key, header.value)).collect(), denied.body.clone())
}

fn metadata(response: &CheckResponse) -> Json {
    fn json(value: &Value) -> Json {
        match value.kind.as_ref().expect("a kind") {
            Kind::NullValue(_) => Json::Null,
            Kind::NumberValue(number) => json!(number),
            Kind::StringValue(text) => json!(text),
            Kind::BoolValue(bool) => json!(bool),
            Kind::StructValue(fields) => {
                fields.fields.iter().map(|(key, value)| (key.clone(), json(value))).collect()
            }
            Kind::ListValue(list) => list.values.iter().map(json).collect(),
        }
    }
    let fields = response.dynamic_metadata.as_ref().expect("metadata").fields.iter();
    fields.map(|(key, value)| (key.clone(), json(value))).collect()
}

#[tokio::test]
async fn each_caller_has_the_budget_of_its_plan() {
    let mut gateway = Gateway::start(PLANS).await;
    for (who, path, requests, allowed) in [
        ("one", "/v1", 6, 3),
        ("two", "/v1", 6, 3),
        ("rich", "/v1", 8, 5),
        ("other", "/v1", 9, 9),
        ("plain", "/v1", 9, 9),
        ("one", "/health", 4, 4),
    ] {
        assert_eq!(gateway.allowed(who, path, requests).await, allowed, "{who} at {path}");
    }
    for (plan, result, expected) in [
        ("free", "within", 6.0),
        ("free", "over", 6.0),
        ("gold", "within", 5.0),
        ("gold", "over", 3.0),
        ("", "unknown_plan", 9.0),
    ] {
        assert_eq!(gateway.metric(plan, result).await, expected, "{plan} {result}");
    }
    let admin = &gateway.service.admin;
    // The burst of `free` is too small to have a fifth.
    for (plan, expected) in [("free", 0.0), ("gold", 1.0)] {
        let series = format!("claimgate_limits_nearly_total{{plan=\"{plan}\"}}");
        assert_eq!(http::metric(admin, &series).await, expected, "{plan}");
    }
    assert_eq!(http::metric(admin, "claimgate_limited_callers ").await, 3.0);
    assert_eq!(http::metric(admin, "claimgate_max_limited_callers ").await, 100_000.0);
}

#[tokio::test]
async fn a_request_may_cost_more_and_denied_ones_cost_nothing() {
    let mut gateway = Gateway::start(PLANS).await;
    for _ in 0..5 {
        let response = gateway.send("one", "/admin").await;
        assert_eq!((status(&response), reason(&response)), (403, "insufficient_scope"));
        assert_eq!(status(&gateway.send("forged", "/v1").await), 401);
    }
    assert_eq!(gateway.allowed("one", "/dear", 2).await, 1);
    // What is over the limit takes nothing either: one is left.
    assert_eq!(gateway.allowed("one", "/v1", 3).await, 1);
}

#[tokio::test]
async fn over_the_limit_is_429_without_a_challenge_in_every_format() {
    let mut gateway = Gateway::start(PLANS).await;
    assert_eq!(gateway.allowed("one", "/v1", 3).await, 3);
    let text = "too many requests, try again later";
    let bodies = [
        ("/v1", json!({"error": "rate_limited", "error_description": text})),
        (
            "/problem",
            json!({"type": "about:blank", "title": "Too Many Requests", "status": 429,
                "error": "rate_limited", "detail": text}),
        ),
        (
            "/openai",
            json!({"error": {"message": text, "type": "rate_limit_exceeded", "param": null,
                "code": "rate_limit_exceeded"}}),
        ),
        (
            "/anthropic",
            json!({"type": "error", "error": {"type": "rate_limit_error", "message": text}}),
        ),
    ];
    for (path, body) in bodies {
        let response = gateway.send("one", path).await;
        assert_eq!((code(&response), status(&response)), (8, 429), "{path}");
        let (headers, found) = denied(&response);
        assert_eq!(serde_json::from_str::<Json>(&found).unwrap(), body);
        let wait: u64 = headers["retry-after"].parse().unwrap();
        // Three an hour is one every twenty minutes.
        assert!((1190..=1200).contains(&wait), "{wait}");
        assert_eq!(headers["ratelimit-policy"], "\"requests\";q=3;w=3600");
        assert_eq!(headers["ratelimit"], format!("\"requests\";r=0;t={wait}"));
        assert!(!headers.contains_key("www-authenticate"));
        let told = format!("{headers:?}{found}");
        assert!(!told.contains("free"), "no plan is told: {told}");
    }
}

#[tokio::test]
async fn a_shadow_denies_nothing_and_says_what_it_would() {
    let mut gateway = Gateway::start(&format!("limits: shadow\n  {PLANS}")).await;
    assert_eq!(gateway.allowed("one", "/v1", 7).await, 7);
    assert_eq!(gateway.metric("free", "within").await, 3.0);
    assert_eq!(gateway.metric("free", "would_be_over").await, 4.0);
    assert_eq!(gateway.metric("free", "over").await, 0.0);
}

#[tokio::test]
async fn metadata_tells_envoy_and_counts_nothing() {
    let limits = "limits: metadata
  metadata: [reason]
  default_plan: free
  plans:
    free: {requests: {per_minute: 60}}
    gold: {requests: {per_day: 7}, tokens: {per_minute: 1000}}";
    let mut gateway = Gateway::start(limits).await;
    let free = json!({"requests": {"requests_per_unit": 60.0, "unit": "MINUTE"}});
    let gold = json!({"requests": {"requests_per_unit": 7.0, "unit": "DAY"},
        "tokens": {"requests_per_unit": 1000.0, "unit": "MINUTE"}});
    for (who, path, plan, limits, cost) in [
        ("one", "/v1", "free", &free, 1.0),
        ("rich", "/dear", "gold", &gold, 2.0),
        ("other", "/v1", "free", &free, 1.0),
        ("plain", "/v1", "free", &free, 1.0),
    ] {
        for _ in 0..70 {
            let response = gateway.send(who, path).await;
            let mut told = json!({"reason": "ok", "plan": plan, "limit_key": format!("keys/{who}"),
                "limits": limits, "limit_cost": cost, "limit_requests": limits["requests"]});
            if let Some(tokens) = limits.get("tokens") {
                told["limit_tokens"] = tokens.clone();
            }
            assert_eq!((status(&response), metadata(&response)), (200, told));
        }
    }
    let untold = [("one", "/health", "ok"), ("one", "/admin", "insufficient_scope")];
    for (who, path, reason) in untold {
        assert_eq!(metadata(&gateway.send(who, path).await), json!({"reason": reason}), "{path}");
    }
    let admin = &gateway.service.admin;
    assert_eq!(http::metric(admin, "claimgate_limited_callers ").await, 0.0);
    assert_eq!(http::metric(admin, "claimgate_max_limited_callers ").await, 0.0);
    assert_eq!(gateway.metric("free", "unknown_plan").await, 70.0);
}

#[tokio::test]
async fn callers_are_told_apart_by_what_the_config_says() {
    // `two` has the client id `one`, which is also a subject.
    let mut gateway = Gateway::start(&format!("limit_by: client_id\n  {PLANS}")).await;
    assert_eq!(gateway.allowed("one", "/v1", 3).await, 3);
    assert_eq!(gateway.allowed("two", "/v1", 5).await, 3);
    let by_claim = format!("limit_by: org\n  default_plan: free\n  {PLANS}");
    let mut gateway = Gateway::start(&by_claim).await;
    assert_eq!(gateway.allowed("one", "/v1", 5).await, 3);
    // Those without an `org` share one budget.
    assert_eq!(gateway.allowed("two", "/v1", 2).await, 2);
    assert_eq!(gateway.allowed("plain", "/v1", 4).await, 1);
}

/// `increase` does not see the first request of a counter that begins with it.
#[tokio::test]
async fn every_counter_that_is_alerted_on_is_there_before_it_counts() {
    let gateway = Gateway::start(PLANS).await;
    let text = reqwest::get(format!("http://{}/metrics", gateway.service.admin)).await.unwrap();
    let text = text.text().await.unwrap();
    let there = |plan: &str, result: &str| {
        let series = format!("claimgate_limits_total{{plan=\"{plan}\",result=\"{result}\"}} 0\n");
        assert!(text.contains(&series), "{series}{text}");
    };
    for plan in ["free", "gold"] {
        for result in ["within", "over", "would_be_over", "unknown_plan"] {
            there(plan, result);
        }
    }
    // Of callers that no plan limits.
    there("", "unknown_plan");
}

#[tokio::test]
async fn a_reload_keeps_the_budgets_of_plans_that_did_not_change() {
    let mut gateway = Gateway::start(PLANS).await;
    assert_eq!(gateway.allowed("one", "/v1", 3).await, 3);
    assert_eq!(gateway.allowed("rich", "/v1", 5).await, 5);
    let changed =
        "plans: {gold: {requests: {per_hour: 100, burst: 6}}, free: {requests: {per_hour: 3}}}";
    gateway.reload(changed).await;
    assert_eq!(gateway.allowed("one", "/v1", 3).await, 0, "an unchanged plan goes on");
    assert_eq!(gateway.allowed("rich", "/v1", 9).await, 6, "a changed one begins anew");
    gateway.reload(&format!("max_limited_callers: 50\n  {changed}")).await;
    assert_eq!(gateway.allowed("one", "/v1", 3).await, 0, "whatever the size of the table");
    gateway.reload("plans: {gold: {requests: {per_hour: 2}}}").await;
    assert_eq!(gateway.allowed("one", "/v1", 3).await, 3, "a removed plan limits no caller");
    assert_eq!(gateway.metric("free", "over").await, 0.0, "its series are gone");
}

/// Who forges a caller's tokens, or sends those it can't use, takes nothing from
/// its budget.
#[tokio::test]
async fn a_flood_of_forged_and_denied_requests_uses_no_budget() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let config = r#"
server: {grpc: {address: "127.0.0.1:0"}, admin: {address: "127.0.0.1:0"}}
auth:
  plans: {free: {requests: {per_hour: 3}}}
  default_plan: free
  providers:
    - {name: issuer, type: oauth2, issuer: "https://issuer.example.com", audience: us, jwks_file: JWKS}
  routes:
    - {name: admin, match: {path: /admin}, required_scopes: [admin]}
"#;
    let folder = Folder::with_keys(config, &[&key]);
    let service = Service::start(&folder.config()).await;
    let client = connect(&service.grpc).await;
    let mut gateway = Gateway { folder, service, client };
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let exp = UnixTime::now().as_seconds() + 600.0;
    let signed = |by: &SigningKey, audience: &str, exp: f64| {
        let claims = json!({"iss": "https://issuer.example.com", "sub": "ada", "aud": audience,
            "exp": exp, "scope": "read"});
        by.sign_with(&header(&key, "ES256"), claims.to_string().as_bytes()).unwrap()
    };
    let honest = signed(&key, "us", exp);
    let send = async |gateway: &mut Gateway, token: &str, path: &str| {
        let token = format!("Bearer {token}");
        let request = check(http("POST", path, &[("authorization", &token)]));
        gateway.client.check(request).await.unwrap().into_inner()
    };
    for (path, token, denied) in [
        ("/v1", signed(&stranger, "us", exp), "bad_signature"),
        ("/v1", signed(&key, "them", exp), "wrong_audience"),
        ("/v1", signed(&key, "us", 1.0), "expired"),
        ("/v1", format!("{honest}."), "malformed_token"),
        ("/v1", String::new(), "missing_token"),
        ("/%2561dmin", honest.clone(), "ambiguous_path"),
        ("/admin", honest.clone(), "insufficient_scope"),
    ] {
        for _ in 0..100 {
            assert_eq!(reason(&send(&mut gateway, &token, path).await), denied);
        }
    }
    assert_eq!(http::metric(&gateway.service.admin, "claimgate_limited_callers ").await, 0.0);
    for expected in [200, 200, 200, 429, 429] {
        assert_eq!(status(&send(&mut gateway, &honest, "/v1").await), expected);
    }
}

/// Of a verified token only the claims are kept that something names; limits do.
#[tokio::test]
async fn a_token_names_its_plan_and_its_budget_in_claims_that_nothing_else_reads() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let config = r#"
server: {grpc: {address: "127.0.0.1:0"}, admin: {address: "127.0.0.1:0"}}
auth:
  plans: {free: {requests: {per_hour: 2}}, gold: {requests: {per_hour: 1000}}}
  default_plan: gold
  plan_claim: [billing, plan]
  limit_by: org.team
  providers:
    - {name: issuer, type: oauth2, issuer: "https://issuer.example.com", require_audience: false, jwks_file: JWKS}
"#;
    let folder = Folder::with_keys(config, &[&key]);
    let service = Service::start(&folder.config()).await;
    let client = connect(&service.grpc).await;
    let mut gateway = Gateway { folder, service, client };
    let token = |subject: &str, team: &str, plan: &str| {
        let exp = UnixTime::now().as_seconds() + 600.0;
        let claims = json!({"iss": "https://issuer.example.com", "sub": subject, "exp": exp,
            "billing": {"plan": plan}, "org": {"team": team}});
        key.sign_with(&header(&key, "ES256"), claims.to_string().as_bytes()).unwrap()
    };
    for (subject, team, plan, requests, allowed) in [
        ("ada", "red", "free", 3, 2),
        // The same team, the same budget.
        ("bea", "red", "free", 2, 0),
        ("cleo", "blue", "free", 3, 2),
        ("dora", "blue", "gold", 5, 5),
        ("emil", "green", "none", 5, 5),
    ] {
        let token = token(subject, team, plan);
        let mut found = 0;
        for _ in 0..requests {
            let response = gateway.client.check(check_token(&token)).await.unwrap().into_inner();
            found += usize::from(status(&response) == 200);
        }
        assert_eq!(found, allowed, "{subject} of {team} on {plan}");
    }
    assert_eq!(gateway.metric("gold", "unknown_plan").await, 5.0);
}
