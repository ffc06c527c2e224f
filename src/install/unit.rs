use std::fmt::Write;

use base::Layout;

/// The name of the agent's unit.
pub const UNIT_NAME: &str = "0711-agent.service";

/// The name of the unit the agent starts to have an update carried out.
pub const UPDATE_UNIT_NAME: &str = "0711-update.service";

/// Returns that unit. It replaces the program, the units and what runs, so it has the rights the agent does without; stopping the agent does not
/// stop it.
pub fn update_unit_text(layout: &Layout) -> String {
    format!(
        "[Unit]\n\
         Description=0711 update: replaces the installed release, or puts it back\n\
         After=network-online.target local-fs.target docker.service\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={} update --unattended --json\n\
         KillMode=process\n\
         NoNewPrivileges=yes\n\
         ProtectKernelModules=yes\n\
         ProtectClock=yes\n\
         UMask=0077\n",
        layout.binary().display()
    )
}

/// Returns the systemd unit of the machine's own agent.
///
/// `KillMode=process`: stopping or updating the agent leaves the roles running, and `0711 stop` ends them in order. What
/// roles need (memory mapping, loopback, their folders) stays allowed, because they live in the unit's control group.
pub fn unit_text(layout: &Layout) -> String {
    let mut text = format!(
        "[Unit]\n\
         Description=0711 agent: keeps the brain's services running\n\
         Wants=network-online.target\n\
         After=network-online.target local-fs.target docker.service\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={} agent run\n\
         Restart=always\n\
         RestartSec=2\n\
         KillMode=process\n\
         RuntimeDirectory=0711\n\
         RuntimeDirectoryMode=0755\n\
         RuntimeDirectoryPreserve=yes\n\
         UMask=0077\n",
        layout.binary().display()
    );
    for line in [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "PrivateDevices=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "RestrictNamespaces=yes",
        // Netlink is how the packet filter is asked what it counted.
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "SystemCallArchitectures=native",
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(
        text,
        "ReadWritePaths={} {} {}",
        layout.var().display(),
        layout.etc().display(),
        layout.run().display()
    );
    text += "\n[Install]\nWantedBy=multi-user.target\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_the_unit_leaves_the_roles_alone() {
        let text = unit_text(&Layout::system());
        for line in [
            "ExecStart=/opt/0711/bin/0711 agent run",
            "KillMode=process",
            "RuntimeDirectoryPreserve=yes",
            "ReadWritePaths=/var/lib/0711 /etc/0711 /run/0711",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(Layout::system().agent_unit().unwrap().file_name().unwrap(), UNIT_NAME);
    }
}
