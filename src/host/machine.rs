use std::os::unix::fs::MetadataExt;

/// The four facts a license may be bound to. They are inputs of hashes and stay on the machine: the type has no
/// serialised form.
#[derive(Clone, PartialEq, Eq)]
pub struct MachineIdentity {
    /// `/etc/machine-id`.
    pub machine_id: Option<String>,
    /// DMI product UUID; only root may read it.
    pub dmi_uuid: Option<String>,
    /// UUID of the root file system.
    pub root_file_system_uuid: Option<String>,
    /// Hardware address of the first network interface that has a device behind it, by name.
    pub first_mac: Option<String>,
}

/// Reads the facts; one that cannot be read is `None`.
pub fn machine_identity() -> MachineIdentity {
    MachineIdentity {
        machine_id: line("/etc/machine-id"),
        dmi_uuid: line("/sys/class/dmi/id/product_uuid"),
        root_file_system_uuid: root_file_system_uuid(),
        first_mac: first_mac(),
    }
}

fn line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?.trim().to_lowercase();
    (!text.is_empty()).then_some(text)
}

fn root_file_system_uuid() -> Option<String> {
    let device = std::fs::metadata("/").ok()?.dev();
    std::fs::read_dir("/dev/disk/by-uuid").ok()?.flatten().find_map(|entry| {
        let block = std::fs::metadata(entry.path()).ok()?;
        (block.rdev() == device).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

fn first_mac() -> Option<String> {
    let mut names: Vec<_> = std::fs::read_dir("/sys/class/net").ok()?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    // Bridges, tunnels and container interfaces have no `device`: they come and go and identify nothing.
    names
        .iter()
        .find(|path| path.join("device").exists())
        .and_then(|path| line(&path.join("address").to_string_lossy()))
}
