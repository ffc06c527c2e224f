//! The stories, told through the binary. Each has a `--root` of its own.

mod airgap;
mod backup;
mod bundle;
mod corpus;
mod docker;
mod kill;
mod license;
mod product;
mod story;
mod tidy;
mod wizard;
