//! What several tests share, and the tests that concern the whole room.

pub(crate) mod gradcheck;
mod parity;
mod role;
mod story;
pub(crate) mod testing;
