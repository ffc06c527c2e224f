//! The stories, told through the binary. Each has a `--root` of its own.

mod bundle;
mod corpus;
mod kill;
mod license;
mod product;
mod story;
mod tidy;
mod wizard;
