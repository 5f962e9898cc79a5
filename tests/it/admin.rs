//! The admin REST: behind its own port and token, in the media types it promises, and described by itself.

use artifactstore_tests::Harness;
use artifactstore_tests::admin::list_of;
use serde_json::json;

#[tokio::test]
async fn everything_but_health_wants_the_token() {
    let gateway = Harness::start().await;
    gateway.put("guarded/run-1/a", b"a").await.unwrap();
    let paths = ["/v1/producers", "/v1/producers/guarded", "/v1/producers/guarded/packages", "/v1/events?since=0"];
    for path in paths {
        for authorization in ["", "Bearer wrong", "Basic Zm9vOmJhcg==", &gateway.admin.token.clone()] {
            let reply = gateway.admin.send("GET", path, &[("authorization", authorization)], b"").await;
            assert_eq!(reply.status, 401, "{path} with {authorization:?}");
            assert_eq!(reply.header("content-type"), Some("application/problem+json"));
            assert!(reply.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")));
        }
        assert_eq!(gateway.admin.get(path).await.status, 200, "{path}");
    }
    let finalize = gateway.admin.send("POST", "/v1/producers/guarded/finalize", &[], b"{\"package\":\"run-1\"}").await;
    assert_eq!(finalize.status, 401);
    assert!(!gateway.kinds_since(0).await.contains(&"v1.package.finalized".to_owned()));
    for path in ["/health/live", "/health/ready", "/health", "/metrics"] {
        assert_eq!(gateway.admin.send("GET", path, &[], b"").await.status, 200, "{path}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn the_two_ports_do_not_answer_for_each_other() {
    let gateway = Harness::start().await;
    let as_bucket = gateway.s3.request("GET", "v1/producers").send().await.unwrap_err();
    assert_ne!(as_bucket.status(), 200);
    let mut wrong = gateway.admin.clone();
    wrong.address = gateway.s3.address;
    for path in ["/v1/producers", "/health/live", "/openapi.json", "/metrics"] {
        assert!(wrong.get(path).await.status >= 400, "{path} is no business of the S3 port");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn problems_are_told_as_problem_json() {
    let gateway = Harness::start().await;
    gateway.producer("problems").await;
    let cases = [
        (gateway.admin.get("/v1/producers/nobody").await, 404),
        (gateway.admin.get("/v1/packages/00000000-0000-4000-8000-000000000000").await, 404),
        (gateway.admin.get("/v1/nothing/here").await, 404),
        (gateway.admin.give("PUT", "/v1/producers/Not_A_Name", &json!({})).await, 400),
        (gateway.admin.give("PUT", "/v1/producers/problems", &json!({ "package_depth": "deep" })).await, 422),
        (gateway.admin.give("PUT", "/v1/producers/problems", &json!({ "no_such_setting": 1 })).await, 422),
        (gateway.admin.give("POST", "/v1/producers/problems/finalize", &json!({ "package": "none" })).await, 404),
        (gateway.admin.give("DELETE", "/v1/producers", &json!({})).await, 405),
        (gateway.admin.get("/v1/events?since=x").await, 400),
    ];
    for (number, (reply, status)) in cases.into_iter().enumerate() {
        assert_eq!(reply.status, status, "case {number}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "case {number}");
        let problem = reply.json();
        assert_eq!(problem["status"], status, "case {number}");
        assert!(problem["title"].is_string() && problem["type"].is_string(), "case {number}: {problem}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn producers_keep_their_settings() {
    let gateway = Harness::start().await;
    let settings = json!({
        "package_depth": 2, "finalize_marker": "*.done", "finalize_after_idle_seconds": 3600, "on_finalized": "new_revision"
    });
    gateway.configure("settled", settings.clone()).await;
    gateway.s3.put("by-s3", b"").await.unwrap();
    let told = gateway.admin.get("/v1/producers/settled").await.json();
    let found = if told["settings"].is_object() { &told["settings"] } else { &told };
    for (name, value) in settings.as_object().unwrap() {
        assert_eq!(&found[name], value, "{told}");
    }
    let names = |reply: serde_json::Value| -> Vec<String> {
        list_of(&reply, "producers").iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(gateway.admin.get("/v1/producers").await.json()), ["by-s3", "settled"]);
    gateway.s3.head("settled").await.unwrap();
    let _ = gateway.cli(&["producer", "create", "by-command", "--package-depth", "0"]).await.succeeded();
    gateway.s3.head("by-command").await.unwrap();
    gateway.finish().await;
}

#[tokio::test]
async fn packages_are_listed_by_state_and_page_by_page() {
    let gateway = Harness::start().await;
    for number in 0..5 {
        gateway.put(&format!("paged/run-{number}/a"), b"a").await.unwrap();
    }
    for package in ["run-1", "run-3"] {
        gateway.finalize("paged", package).await.unwrap();
    }
    let ask = async |query: &str| gateway.admin.get(&format!("/v1/producers/paged/packages?{query}")).await.json();
    let names = |answer: &serde_json::Value| -> Vec<String> {
        list_of(answer, "packages").iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&ask("state=finalized").await), ["run-1", "run-3"]);
    assert_eq!(names(&ask("state=open").await), ["run-0", "run-2", "run-4"]);
    assert_eq!(names(&ask("name=run-2").await), ["run-2"]);
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = ask(&format!("limit=2{cursor}")).await;
        found.extend(names(&answer));
        let Some(next) = answer["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, ["run-0", "run-1", "run-2", "run-3", "run-4"]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_package_and_its_files_can_be_read() {
    let gateway = Harness::start().await;
    gateway.put("files/run-1/b.txt", b"bb").await.unwrap();
    gateway.put("files/run-1/a.txt", b"a").await.unwrap();
    let id = gateway.admin.packages("files", Some("run-1")).await[0]["id"].as_str().unwrap().to_owned();
    let open = gateway.admin.get(&format!("/v1/packages/{id}")).await.json();
    assert_eq!((&open["state"], &open["file_count"], &open["size_bytes"]), (&json!("open"), &json!(2), &json!(3)));
    let early = gateway.admin.get(&format!("/v1/packages/{id}/manifest")).await;
    assert_eq!(early.status, 409, "an open package has no manifest: {}", early.text());
    gateway.finalize("files", "run-1").await.unwrap();
    let sealed = gateway.admin.get(&format!("/v1/packages/{id}")).await.json();
    assert_eq!(sealed["state"], "finalized");
    let files = list_of(&gateway.admin.get(&format!("/v1/packages/{id}/files")).await.json(), "files");
    let paths: Vec<&str> = files.iter().filter_map(|file| file["relative_path"].as_str()).collect();
    assert_eq!(paths, ["a.txt", "b.txt"]);
    gateway.finish().await;
}

#[tokio::test]
async fn the_description_names_every_path_and_nothing_that_is_not_there() {
    let gateway = Harness::start().await;
    let reply = gateway.admin.send("GET", "/openapi.json", &[], b"").await;
    assert_eq!(reply.status, 200);
    let document = reply.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let paths = document["paths"].as_object().unwrap();
    let expected = [
        "/health",
        "/health/live",
        "/health/ready",
        "/v1/producers",
        "/v1/producers/{producer}",
        "/v1/producers/{producer}/packages",
        "/v1/producers/{producer}/finalize",
        "/v1/packages/{id}",
        "/v1/packages/{id}/files",
        "/v1/packages/{id}/manifest",
        "/v1/packages/{id}/finalize",
        "/v1/events",
    ];
    for path in expected {
        assert!(paths.contains_key(path), "{path} is served and not described");
    }
    for (path, methods) in paths {
        let real = path.replace("{producer}", "nobody").replace("{id}", "00000000-0000-4000-8000-000000000000");
        for method in
            methods.as_object().unwrap().keys().filter(|key| !matches!(key.as_str(), "parameters" | "summary"))
        {
            let method = method.to_uppercase();
            let reply = gateway.admin.send(&method, &real, &[], b"{}").await;
            assert!(!matches!(reply.status, 405 | 501), "{method} {path} is described and not served");
            assert!(real.starts_with("/v1") == (reply.status == 401), "{method} {path}: {}", reply.status);
        }
    }
    gateway.finish().await;
}
