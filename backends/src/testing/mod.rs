//! What tests of any floor use: the promises of a backend as a suite, a backend that fails when told, one that loses
//! what was not synced, and a catalog in memory.

pub mod catalog;
pub mod conformance;
pub mod faulty;
pub mod powercut;
