//! Hears of events that any gateway commits. A hint: what is told while the connection is gone is lost, so that whoever
//! waits looks for itself now and then.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::write::CHANNEL;

/// How long to wait before the server is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// The listening end.
#[derive(Debug)]
pub(super) struct Follower {
    heard: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Follower {
    pub(super) fn start(options: PgConnectOptions) -> Self {
        let (sender, heard) = watch::channel(0);
        Self { heard, task: tokio::spawn(follow(options, sender)) }
    }

    pub(super) fn heard(&self) -> watch::Receiver<u64> {
        self.heard.clone()
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(options: PgConnectOptions, heard: watch::Sender<u64>) {
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = pool.connect_lazy_with(options);
    loop {
        if let Err(error) = listen(&pool, &heard).await {
            tracing::debug!(%error, "nothing is heard of what other gateways commit");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(pool: &sqlx::PgPool, heard: &watch::Sender<u64>) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // What came before it listened, or while it did not, may be news as well.
        heard.send_modify(|times| *times += 1);
        listener.try_recv().await?;
    }
}
