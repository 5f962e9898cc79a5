//! Several gateways on one PostgreSQL and one storage: what they promise together, while they, the database, the storage
//! and the ways between them come and go. Tried over a shared folder by `make test`, and over Ceph RGW by `make test-rgw`.

mod clients;
pub(crate) mod faults;
mod fleet;
mod registers;
pub(crate) mod serving;

pub(crate) use clients::PRODUCER;
#[allow(unused_imports, reason = "only one of the test programs looks for it")]
pub(crate) use fleet::HAS_THE_LEASE;
pub(crate) use fleet::Site;
