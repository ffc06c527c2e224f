//! Facts about the machine 0711 runs on, and about the folders it is asked to read.
//!
//! Everything here looks and nothing here changes: a fact is what `/proc`, `/sys`, the processor or a folder said at the
//! moment of asking. Whether a plan fits these facts is for `plan` to decide; [`preflight`] gives the verdicts an
//! administrator reads, one per question about the machine.
//!
//! Invariants:
//! - a fact that could not be learned is `None` or an explicit state, never a guess; in a preflight it is `unknown`,
//!   never `ok`;
//! - nothing is looked up or connected to outside this machine, unless a preflight is asked to try the network;
//! - a folder survey ends when its time is up, also when the file system below it hangs, and then says that it is partial;
//! - symbolic links are never followed;
//! - the environment is not read: the caller says where home is.

mod connection;
mod cpu;
mod disk;
mod facts;
mod machine;
mod port;
mod preflight;
mod propose;
mod survey;

pub use connection::{Connection, connections};
pub use cpu::{Cpu, missing_v3};
pub use disk::{Disk, disk};
pub use facts::{Facts, Folder, FolderState, Os, facts, folder, systemd_is_running};
pub use machine::{MachineIdentity, machine_identity};
pub use port::{Listener, listeners, port_holder};
pub use preflight::{
    Card, Check, Engine, Gpus, Lack, Memory, Need, Online, Place, PlaceKind, PortUse, Readers, Report, Space, Verdict,
    Wanted, gpus, preflight,
};
pub use propose::{Proposal, propose};
pub use survey::{Survey, TypeCount, survey};
