use serde::{Deserialize, Serialize};

/// What one run of a handler over one file may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandlerLimits {
    /// The largest file a handler is given.
    pub max_file_bytes: u64,
    /// The longest source of a handler.
    pub max_code_bytes: u64,
    /// How long it may run, the host functions it calls included.
    pub time_ms: u64,
    /// How much memory it may fill beyond what its process had before.
    pub memory_bytes: u64,
    /// The address space of the process: the wall behind `memory_bytes`.
    pub address_space_bytes: u64,
    /// How deep its functions may call each other.
    pub max_recursion: u32,
    /// How often it may call host functions.
    pub max_calls: u64,
    /// How many records it may emit.
    pub max_records: u64,
    /// How many bytes of records and text it may emit.
    pub max_output_bytes: u64,
    /// How many bytes may come out of what it unpacks, over all calls.
    pub max_unpacked_bytes: u64,
}

impl Default for HandlerLimits {
    fn default() -> Self {
        Self {
            max_file_bytes: 128 << 20,
            max_code_bytes: 64 << 10,
            time_ms: 20_000,
            memory_bytes: 512 << 20,
            address_space_bytes: 2 << 30,
            max_recursion: 200,
            max_calls: 5_000_000,
            max_records: 200_000,
            max_output_bytes: 32 << 20,
            max_unpacked_bytes: 64 << 20,
        }
    }
}
