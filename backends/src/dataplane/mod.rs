//! The data plane: whatever handles file bytes.

pub mod spi;
