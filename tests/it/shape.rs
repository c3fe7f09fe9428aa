//! The shape of a request, as an ordinary HTTP server sees it that knows nothing of us.

use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::client::post;
use crate::forebay::Settings;

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_completion_arrives_as_the_sdk_sent_it_with_the_proxys_key() {
    let upstream = MockServer::start().await;
    let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    Mock::given(method("POST"))
        .and(path("/base/v1/chat/completions"))
        .and(query_param("a", "1 2"))
        .and(header("authorization", "Bearer sk-proxy"))
        .and(header("content-type", "application/json"))
        .and(header("x-stainless-lang", "python"))
        .and(header("host", upstream.address().to_string().as_str()))
        .and(body_json(&body))
        .respond_with(ResponseTemplate::new(201).set_body_json(serde_json::json!({"id": "x"})))
        .expect(1)
        .mount(&upstream)
        .await;
    let response = tokio::task::spawn_blocking({
        let (base, body) = (format!("{}/base", upstream.uri()), body.to_string());
        move || {
            let settings = Settings::new().set("UPSTREAM_BASE_URL", base);
            let forebay = settings.set("UPSTREAM_API_KEY", "sk-proxy").start();
            let request = post("/v1/chat/completions?a=1%202", body).host("localhost");
            let request = request.field("Authorization", "Bearer client").field("Content-Type", "application/json");
            let request = request.field("X-Stainless-Lang", "python");
            forebay.ask(&request)
        }
    })
    .await
    .unwrap();
    assert_eq!((response.status, response.text().as_str()), (201, "{\"id\":\"x\"}"));
}
