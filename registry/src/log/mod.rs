//! The log: deciding and applying are pure; the writer commits batches, replay folds the same facts again.

pub mod apply;
pub mod clockwatch;
pub mod decide;
pub mod plan;
pub mod replay;
mod reply;
pub mod seal;
pub mod storage;
pub mod transfer;
pub mod writer;
