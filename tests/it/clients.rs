//! Clients that nobody here wrote, unchanged, over HTTP and over TLS, since current SDKs send other bodies on each; and
//! once behind nginx, which has its own way with headers and bodies.

use artifactstore_tests::clients::Between;
use artifactstore_tests::{Harness, clients};

/// How a client reaches the gateway.
#[derive(Clone, Copy)]
struct Wire {
    /// Whether the gateway speaks TLS.
    tls: bool,
    between: Between,
}

const HTTP: Wire = Wire { tls: false, between: Between::Nothing };
const TLS: Wire = Wire { tls: true, between: Between::Nothing };
/// Behind nginx, with its buffers on and off.
const BUFFERED: Wire = Wire { tls: false, between: Between::BufferingNginx };
const UNBUFFERED: Wire = Wire { tls: false, between: Between::Nginx };
/// Behind nginx, which speaks TLS with the gateway.
const BUFFERED_TO_TLS: Wire = Wire { tls: true, between: Between::BufferingNginx };
const UNBUFFERED_TO_TLS: Wire = Wire { tls: true, between: Between::Nginx };

impl Wire {
    async fn gateway(self) -> Harness {
        let settings: &[(&str, &str)] = if self.tls { &[("ARTIFACTSTORE_TLS_SELF_SIGNED", "true")] } else { &[] };
        Harness::start_with(settings).await
    }
}

/// Runs one part of a client's suite against a gateway of its own, and audits what it left.
async fn suite(script: &str, part: &str, wire: Wire) {
    let gateway = wire.gateway().await;
    println!("{}", clients::script_across(&gateway, wire.between, script, &[part]).await.succeeded());
    gateway.finish().await;
}

/// The AWS SDK for Rust, which is a program of its own.
async fn rust_sdk(wire: Wire) {
    let gateway = wire.gateway().await;
    println!("{}", clients::sdk(&gateway, wire.between).await.succeeded());
    gateway.finish().await;
}

#[tokio::test]
async fn the_rust_sdk_does_everything() {
    rust_sdk(HTTP).await;
}

#[tokio::test]
async fn the_rust_sdk_does_everything_over_tls() {
    rust_sdk(TLS).await;
}

#[tokio::test]
async fn the_rust_sdk_does_everything_behind_nginx() {
    rust_sdk(UNBUFFERED).await;
}

/// A test per part of a suite and wire: its name is the promise.
macro_rules! suites {
    ($($name:ident => $script:literal $part:literal $wire:ident;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                suite($script, $part, $wire).await;
            }
        )*
    };
}

suites! {
    aws_copies_small_files_up_and_down => "aws_suite.py" "small" HTTP;
    aws_copies_small_files_over_tls => "aws_suite.py" "small" TLS;
    aws_copies_small_files_behind_nginx => "aws_suite.py" "small" BUFFERED;
    aws_copies_a_large_file_in_parts => "aws_suite.py" "large" HTTP;
    aws_copies_a_large_file_in_parts_over_tls => "aws_suite.py" "large" TLS;
    aws_copies_a_large_file_in_parts_behind_nginx => "aws_suite.py" "large" UNBUFFERED;
    aws_copies_a_real_tree_of_thousands_of_files => "aws_suite.py" "tree" HTTP;
    aws_syncs_up_then_nothing_then_down_to_an_equal_tree => "aws_suite.py" "sync" HTTP;
    aws_syncs_over_tls => "aws_suite.py" "sync" TLS;
    aws_removes_and_presigns => "aws_suite.py" "remove-presign" HTTP;
    aws_removes_and_presigns_over_tls => "aws_suite.py" "remove-presign" TLS;
    aws_sees_a_finalized_package_refuse => "aws_suite.py" "finalized" HTTP;
    aws_sees_a_finalized_package_refuse_over_tls => "aws_suite.py" "finalized" TLS;
    aws_of_debian_does_everything => "aws2_suite.py" "everything" HTTP;
    aws_of_debian_does_everything_over_tls => "aws2_suite.py" "everything" TLS;
    aws_of_debian_does_everything_behind_nginx => "aws2_suite.py" "everything" UNBUFFERED;
    boto3_uploads_with_threads => "boto3_suite.py" "threads" HTTP;
    boto3_uploads_with_threads_over_tls => "boto3_suite.py" "threads" TLS;
    boto3_checks_every_checksum_algorithm => "boto3_suite.py" "checksums" HTTP;
    boto3_checks_every_checksum_algorithm_over_tls => "boto3_suite.py" "checksums" TLS;
    boto3_keeps_odd_keys => "boto3_suite.py" "odd-keys" HTTP;
    boto3_keeps_odd_keys_over_tls => "boto3_suite.py" "odd-keys" TLS;
    boto3_lists_thousands_of_keys => "boto3_suite.py" "listing" HTTP;
    boto3_uses_presigned_links => "boto3_suite.py" "presigned" HTTP;
    boto3_uses_presigned_links_over_tls => "boto3_suite.py" "presigned" TLS;
    boto3_writes_conditionally => "boto3_suite.py" "conditions" HTTP;
    boto3_writes_conditionally_over_tls => "boto3_suite.py" "conditions" TLS;
    boto3_copies_and_replaces_metadata => "boto3_suite.py" "copies" HTTP;
    boto3_copies_and_replaces_metadata_over_tls => "boto3_suite.py" "copies" TLS;
    boto3_deletes_many_and_reads_ranges => "boto3_suite.py" "delete-ranges" HTTP;
    boto3_deletes_many_and_reads_ranges_over_tls => "boto3_suite.py" "delete-ranges" TLS;
    boto3_parses_every_error => "boto3_suite.py" "errors" HTTP;
    boto3_parses_every_error_over_tls => "boto3_suite.py" "errors" TLS;
    boto3_keeps_versions_and_deletes_them => "boto3_suite.py" "versions" HTTP;
    boto3_locks_what_it_writes => "boto3_suite.py" "locks" HTTP;
    boto3_sets_tags_and_configurations => "boto3_suite.py" "settings" HTTP;
    boto3_reads_without_a_key_what_is_open => "boto3_suite.py" "anonymous" HTTP;
    boto3_reads_without_a_key_what_is_open_over_tls => "boto3_suite.py" "anonymous" TLS;
    boto3_compares_the_sha256_of_the_whole => "boto3_suite.py" "whole-sha256" HTTP;
    boto3_compares_the_sha256_of_the_whole_over_tls => "boto3_suite.py" "whole-sha256" TLS;
    boto3_behind_nginx_that_buffers => "boto3_short_suite.py" "everything" BUFFERED;
    boto3_behind_nginx_that_passes_on => "boto3_short_suite.py" "everything" UNBUFFERED;
    boto3_behind_nginx_that_buffers_and_speaks_tls_with_the_gateway =>
        "boto3_short_suite.py" "everything" BUFFERED_TO_TLS;
    boto3_behind_nginx_that_speaks_tls_with_the_gateway => "boto3_short_suite.py" "everything" UNBUFFERED_TO_TLS;
    rclone_syncs_checks_and_touches => "rclone_suite.py" "sync" HTTP;
    rclone_syncs_checks_and_touches_over_tls => "rclone_suite.py" "sync" TLS;
    rclone_copies_a_large_file_in_parts => "rclone_suite.py" "large" HTTP;
    rclone_copies_a_large_file_in_parts_over_tls => "rclone_suite.py" "large" TLS;
    rclone_copies_a_large_file_in_parts_behind_nginx => "rclone_suite.py" "large" BUFFERED;
    rclone_sets_times_behind_nginx => "rclone_suite.py" "touch" UNBUFFERED;
    restic_backs_up_checks_restores_and_prunes => "restic_suite.py" "everything" HTTP;
    restic_backs_up_checks_restores_and_prunes_over_tls => "restic_suite.py" "everything" TLS;
    restic_backs_up_checks_restores_and_prunes_behind_nginx => "restic_suite.py" "everything" BUFFERED;
    s3cmd_does_everything => "s3cmd_suite.py" "everything" HTTP;
    s3cmd_does_everything_over_tls => "s3cmd_suite.py" "everything" TLS;
    s3cmd_does_everything_behind_nginx => "s3cmd_suite.py" "everything" BUFFERED;
    s5cmd_does_everything => "s5cmd_suite.py" "everything" HTTP;
    s5cmd_does_everything_over_tls => "s5cmd_suite.py" "everything" TLS;
    s5cmd_does_everything_behind_nginx => "s5cmd_suite.py" "everything" UNBUFFERED;
    the_javascript_sdk_does_everything => "node_suite.cjs" "everything" HTTP;
    the_javascript_sdk_does_everything_over_tls => "node_suite.cjs" "everything" TLS;
    the_javascript_sdk_does_everything_behind_nginx => "node_suite.cjs" "everything" BUFFERED;
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
