//! What a lease promises, on every dialect.

use std::time::Duration;

use crate::store::lease::{Lease, Work};
use crate::store::{Batch, Store};

const WORK: Work = Work::FinalizeIdle;
/// Long enough to be there for the whole of a promise, whatever else the machine does.
const LONG: Duration = Duration::from_mins(5);
const SHORT: Duration = Duration::from_millis(50);

async fn take(store: &dyn Store, holder: &str, term: Duration) -> Option<Lease> {
    store.lease_take(WORK, holder, term).await.unwrap()
}

async fn runs(batch: &mut dyn Batch, lease: &Lease) -> bool {
    batch.lease_runs(lease).await.unwrap()
}

/// Nobody else gets it, it can be renewed and given back, and its token grows with every holder.
pub(super) async fn a_lease_is_one_holders_until_it_is_over(store: &dyn Store) {
    let one = take(store, "one", LONG).await.unwrap();
    assert_eq!((&*one.holder, one.work), ("one", WORK));
    assert_eq!(take(store, "two", LONG).await, None);
    assert_eq!(take(store, "one", LONG).await, None, "not twice either: a token is one lease's");
    assert!(store.lease_renew(&one, LONG).await.unwrap());
    store.lease_end(&one).await.unwrap();
    assert!(!store.lease_renew(&one, LONG).await.unwrap(), "what is over stays over");
    let two = take(store, "two", SHORT).await.unwrap();
    assert!(two.token > one.token);
    store.lease_end(&one).await.unwrap();
    tokio::time::sleep(SHORT * 2).await;
    assert!(!store.lease_renew(&two, LONG).await.unwrap(), "it ran out");
    let three = take(store, "one", LONG).await.unwrap();
    assert!(three.token > two.token);
    assert!(!store.lease_renew(&two, LONG).await.unwrap(), "another has it");
    // With terms of a second, nobody can have been given five minutes: the clock was set back since.
    assert!(take(store, "two", Duration::from_secs(1)).await.is_some());
}

/// A batch that asks is told the truth, and is not overtaken.
pub(super) async fn a_lease_that_is_over_holds_in_no_batch(store: &dyn Store) {
    let one = take(store, "one", LONG).await.unwrap();
    let mut batch = store.begin().await.unwrap();
    assert!(runs(&mut *batch, &one).await);
    let stranger = Lease { holder: "two".to_owned(), ..one.clone() };
    assert!(!runs(&mut *batch, &stranger).await, "a token is its holder's");
    assert!(!runs(&mut *batch, &Lease { token: one.token + 1, ..one.clone() }).await);
    drop(batch);
    store.lease_end(&one).await.unwrap();
    let two = take(store, "two", SHORT).await.unwrap();
    let mut batch = store.begin().await.unwrap();
    assert!(!runs(&mut *batch, &one).await, "another has it");
    tokio::time::sleep(SHORT * 2).await;
    assert!(!runs(&mut *batch, &two).await, "it ran out while the batch was open");
    drop(batch);
    let three = take(store, "three", LONG).await.unwrap();
    let mut batch = store.begin().await.unwrap();
    assert!(runs(&mut *batch, &three).await);
    assert!(!runs(&mut *batch, &two).await);
    drop(batch);
}
