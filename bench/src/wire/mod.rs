//! The wire: the same operations over HTTP on this gateway and on other servers, each in turn on the same disk.

pub mod client;
pub mod http;
pub mod load;
pub mod op;
pub mod payload;
pub mod peer;
pub mod run;
pub mod work;
