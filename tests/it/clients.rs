//! Clients that nobody here wrote, unchanged, over HTTP and over TLS: current SDKs send other bodies on each.

use artifactstore_tests::{Harness, clients};

/// Runs one part of a client's suite against a gateway of its own, and audits what it left.
async fn suite(script: &str, part: &str) {
    let gateway = Harness::start().await;
    println!("{}", clients::script(&gateway, script, &[part]).await.succeeded());
    gateway.finish().await;
}

/// A test per part of a suite: its name is the promise.
macro_rules! suites {
    ($($(#[$attribute:meta])* $name:ident => $script:literal $part:literal;)*) => {
        $(
            $(#[$attribute])*
            #[tokio::test]
            async fn $name() {
                suite($script, $part).await;
            }
        )*
    };
}

suites! {
    aws_copies_small_files_up_and_down => "aws_suite.py" "small";
    aws_copies_small_files_over_tls => "aws_suite.py" "tls-small";
    aws_copies_a_large_file_in_parts => "aws_suite.py" "large";
    aws_copies_a_large_file_in_parts_over_tls => "aws_suite.py" "tls-large";
    aws_copies_a_real_tree_of_thousands_of_files => "aws_suite.py" "tree";
    aws_syncs_up_then_nothing_then_down_to_an_equal_tree => "aws_suite.py" "sync";
    aws_removes_and_presigns => "aws_suite.py" "remove-presign";
    aws_sees_a_finalized_package_refuse => "aws_suite.py" "finalized";
    boto3_uploads_with_threads => "boto3_suite.py" "threads";
    boto3_uploads_with_threads_over_tls => "boto3_suite.py" "tls-threads";
    boto3_checks_every_checksum_algorithm => "boto3_suite.py" "checksums";
    boto3_checks_every_checksum_algorithm_over_tls => "boto3_suite.py" "tls-checksums";
    boto3_keeps_odd_keys => "boto3_suite.py" "odd-keys";
    boto3_lists_thousands_of_keys => "boto3_suite.py" "listing";
    boto3_uses_presigned_links => "boto3_suite.py" "presigned";
    boto3_writes_conditionally => "boto3_suite.py" "conditions";
    boto3_copies_and_replaces_metadata => "boto3_suite.py" "copies";
    boto3_deletes_many_and_reads_ranges => "boto3_suite.py" "delete-ranges";
    boto3_keeps_versions_and_deletes_them => "boto3_suite.py" "versions";
    boto3_sets_tags_and_configurations => "boto3_suite.py" "settings";
    boto3_compares_the_sha256_of_the_whole => "boto3_suite.py" "whole-sha256";
    boto3_compares_the_sha256_of_the_whole_over_tls => "boto3_suite.py" "tls-whole-sha256";
    boto3_parses_every_error => "boto3_suite.py" "errors";
    rclone_syncs_checks_and_touches => "rclone_suite.py" "sync";
    rclone_copies_a_large_file_in_parts => "rclone_suite.py" "large";
}

#[tokio::test]
async fn boto3_goes_on_with_an_upload_after_the_gateway_restarted() {
    let mut gateway = Harness::start().await;
    println!("{}", clients::script(&gateway, "boto3_suite.py", &["resume-begin"]).await.succeeded());
    gateway.restart().await;
    println!("{}", clients::script(&gateway, "boto3_suite.py", &["resume-end"]).await.succeeded());
    gateway.finish().await;
}

#[tokio::test]
async fn rclone_sets_a_time_as_a_metadata_event_and_nothing_else() {
    let gateway = Harness::start().await;
    println!("{}", clients::script(&gateway, "rclone_suite.py", &["touch"]).await.succeeded());
    let kinds = gateway.kinds_since(0).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "v1.file.ingested").count(), 3, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "v1.file.described").count(), 1, "{kinds:?}");
    gateway.finish().await;
}
