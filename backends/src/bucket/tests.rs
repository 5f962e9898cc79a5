//! What only a bucket can keep or break.
