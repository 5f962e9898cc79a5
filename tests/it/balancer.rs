//! nginx before several gateways, with the configuration of the example: what comes through is what was sent, and what
//! changes something is sent once.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use artifactstore_tests::command::workspace;
use artifactstore_tests::postgres::Cluster;
use artifactstore_tests::{Harness, S3, clients};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::body;

/// A running nginx.
struct Balancer {
    address: SocketAddr,
    process: Child,
    folder: TempDir,
}

impl Balancer {
    /// `None`, and a line that says so, where nginx is not.
    fn before(servers: &[SocketAddr]) -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
            .into_iter()
            .find(|at| Path::new(at).is_file());
        let Some(program) = program else {
            println!("FIGURE skipped: nginx is not here, and nothing was tried through it");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let example = std::fs::read_to_string(workspace().join("examples/cluster/nginx.conf")).unwrap();
        let (before, rest) = example.split_once("# gateways: begin").unwrap();
        let (_, behind) = rest.split_once("# gateways: end").unwrap();
        let servers: String = servers.iter().map(|at| format!("server {at} max_fails=1 fail_timeout=5s;\n")).collect();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let own: String = kinds.iter().map(|kind| format!("{kind}_temp_path temp-{kind};\n")).collect();
        let text = format!("{before}{servers}{behind}")
            .replace("listen 127.0.0.1:9080", &format!("listen {address}"))
            .replacen("http {\n", &format!("http {{\n{own}"), 1);
        std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).args([
            "-c",
            "nginx.conf",
            "-e",
            "stderr",
            "-g",
            "daemon off; master_process off;",
        ]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { address, process, folder })
    }

    fn s3(&self, gateway: &Harness) -> S3 {
        S3 { address: self.address, keys: gateway.s3.keys.clone() }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // One that ended by itself is gone as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn two_gateways(objects: &TempDir) -> (Harness, Harness) {
    let url = Cluster::shared().database();
    let root = objects.path().display().to_string();
    let settings = [("ARTIFACTSTORE_DATABASE_URL", url.as_str()), ("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", root.as_str())];
    (Harness::start_with(&settings).await, Harness::start_with(&settings).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_the_load_balancer_is_what_was_sent() {
    let objects = TempDir::new().unwrap();
    let (mut one, two) = two_gateways(&objects).await;
    let Some(balancer) = Balancer::before(&[one.s3.address, two.s3.address]) else { return };
    let s3 = balancer.s3(&one);
    s3.put("board", b"").await.unwrap();
    for (key, size) in [("empty", 0), ("small", 4096), ("large", (21 << 20) + 3)] {
        let (name, bytes) = (format!("board/run/{key}"), body::bytes(size as u64, size));
        s3.put(&name, &bytes).await.unwrap();
        assert!(s3.get(&name).await.unwrap().body == bytes, "{name}");
    }
    // Signatures hold over paths and headers as they were sent, whatever nginx thinks of them.
    for key in ["a//b", "a%2Fb", "ü ~+&=", "run/./x"] {
        s3.put(&format!("board/{key}"), key.as_bytes()).await.unwrap();
        assert_eq!(s3.get(&format!("board/{key}")).await.unwrap().text(), key);
    }
    let long = "v".repeat(2000);
    s3.request("PUT", "board/run/described")
        .header("x-amz-meta-with_underscore", &long)
        .body(b"x")
        .send()
        .await
        .unwrap();
    let found = s3.head("board/run/described").await.unwrap();
    assert_eq!(found.header_or_empty("x-amz-meta-with_underscore"), long);
    let chunks = s3.request("PUT", "board/run/chunks").chunks_signed(70_000).body(&body::bytes(5, 300_000));
    chunks.send().await.unwrap();
    s3.request("PUT", "board/run/asked").expect_continue().body(b"body").send().await.unwrap();
    assert_eq!(s3.request("GET", "board/run/asked").presigned(60).send().await.unwrap().text(), "body");
    // The real clients.
    let keys = one.s3.address;
    one.s3.address = balancer.address;
    println!("{}", clients::script(&one, "aws_suite.py", &["small"]).await.succeeded());
    println!("{}", clients::script(&one, "rclone_suite.py", &["large"]).await.succeeded());
    one.s3.address = keys;
    let log = std::fs::read_to_string(balancer.folder.path().join("access.log")).unwrap();
    assert!(log.contains("GET /board/run/asked") && !log.contains("X-Amz-Signature"), "{log}");
    drop(balancer);
    one.stop().await;
    two.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_another_gateway_when_one_is_gone_and_writes_are_sent_once() {
    let objects = TempDir::new().unwrap();
    let (one, two) = two_gateways(&objects).await;
    // A gateway that takes every request and answers none: it may have done it.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = silent.local_addr().unwrap();
    let (taken, mut takes) = tokio::sync::mpsc::unbounded_channel();
    let silent = tokio::spawn(async move {
        while let Ok((mut stream, _)) = silent.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let _ = taken.send(String::from_utf8_lossy(&head[..read]).into_owned());
            let _ = stream.shutdown().await;
        }
    });
    one.put("board/run/kept", b"kept").await.unwrap();
    let events = one.event_count().await;
    for (method, tries) in [("GET", 1), ("PUT", 1), ("DELETE", 1), ("POST", 1)] {
        // A balancer of its own each time: it remembers who failed.
        let Some(balancer) = Balancer::before(&[closed, two.s3.address]) else { return };
        let s3 = balancer.s3(&one);
        let mut request = s3.request(method, "board/run/kept");
        if method == "POST" {
            request = request.query("uploads", "");
        }
        let answer = request.send().await;
        for _ in 0..tries {
            assert!(takes.recv().await.unwrap().starts_with(method), "the silent one was asked first");
        }
        match method {
            "GET" => assert_eq!(answer.unwrap().text(), "kept"),
            _ => assert_eq!(answer.unwrap_err().status(), 502, "{method} is not sent to another"),
        }
        // The next one goes where somebody answers.
        assert_eq!(s3.get("board/run/kept").await.unwrap().text(), "kept");
    }
    assert_eq!(one.event_count().await, events, "nothing was done twice, or at all");
    silent.abort();
    one.finish().await;
    two.finish().await;
}
