//! Conditional writes are decided inside the commit: of any number that race, exactly one wins.

use artifactstore_tests::Harness;
use tokio::task::JoinSet;

use crate::body;

#[tokio::test]
async fn of_many_racing_creations_exactly_one_succeeds() {
    let gateway = Harness::start().await;
    gateway.producer("race").await;
    for round in 0..5 {
        let mut tasks = JoinSet::new();
        for racer in 0..32_u64 {
            let s3 = gateway.s3.clone();
            tasks.spawn(async move {
                let request = s3.request("PUT", &format!("race/run/{round}.lock")).header("if-none-match", "*");
                (racer, request.body(&body::bytes(racer, 2000)).send().await)
            });
        }
        let mut winners = Vec::new();
        while let Some(done) = tasks.join_next().await {
            match done.unwrap() {
                (racer, Ok(_)) => winners.push(racer),
                (_, Err(refused)) => assert_eq!((refused.status(), refused.code()), (412, "PreconditionFailed")),
            }
        }
        assert_eq!(winners.len(), 1, "one winner, not {winners:?}");
        let stored = gateway.get(&format!("race/run/{round}.lock")).await.unwrap();
        assert!(stored.body == body::bytes(winners[0], 2000), "the winner's bytes are the file's");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_counter_kept_by_compare_and_swap_loses_no_count() {
    const TASKS: usize = 8;
    const EACH: usize = 5;
    let gateway = Harness::start().await;
    gateway.put("swap/run/counter", b"0").await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let s3 = gateway.s3.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let seen = s3.get("swap/run/counter").await.unwrap();
                let next = (seen.text().parse::<usize>().unwrap() + 1).to_string();
                let request = s3.request("PUT", "swap/run/counter").header("if-match", &format!("\"{}\"", seen.etag()));
                match request.body(next.as_bytes()).send().await {
                    Ok(_) => done += 1,
                    Err(refused) => assert_eq!(refused.status(), 412, "{}", refused.code()),
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(gateway.get("swap/run/counter").await.unwrap().text(), (TASKS * EACH).to_string());
    gateway.finish().await;
}

#[tokio::test]
async fn a_write_whose_condition_fails_records_nothing() {
    let gateway = Harness::start().await;
    gateway.put("conditions/run/a", b"first").await.unwrap();
    let events = gateway.event_count().await;
    let put = |name: &str, header: &str, value: &str| {
        gateway.s3.request("PUT", &format!("conditions/run/{name}")).header(header, value).body(b"second").send()
    };
    assert_eq!(put("a", "if-none-match", "*").await.unwrap_err().code(), "PreconditionFailed");
    assert_eq!(put("a", "if-match", "\"0123\"").await.unwrap_err().code(), "PreconditionFailed");
    assert_eq!(put("absent", "if-match", "\"0123\"").await.unwrap_err().status(), 404);
    assert_eq!(gateway.event_count().await, events);
    assert_eq!(gateway.get("conditions/run/a").await.unwrap().body, b"first");
    gateway.finish().await;
}

#[tokio::test]
async fn completing_an_upload_keeps_its_condition_and_the_upload() {
    let gateway = Harness::start().await;
    gateway.put("complete/run/a", b"there already").await.unwrap();
    let upload = gateway.s3.upload_create("complete/run/a").await.unwrap();
    let etag = gateway.s3.upload_part("complete/run/a", &upload, 1, b"from parts").await.unwrap();
    let body = artifactstore_tests::request::complete_body(&[(1, etag)]);
    let complete = || gateway.s3.request("POST", "complete/run/a").query("uploadId", &upload).body(body.as_bytes());
    let refused = complete().header("if-none-match", "*").send().await.unwrap_err();
    assert_eq!(refused.code(), "PreconditionFailed");
    assert_eq!(gateway.get("complete/run/a").await.unwrap().body, b"there already");
    complete().send().await.unwrap();
    assert_eq!(gateway.get("complete/run/a").await.unwrap().body, b"from parts");
    gateway.finish().await;
}
