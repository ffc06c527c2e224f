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
/// `KillMode=process`: stopping or updating the agent leaves the roles running, and `0711 stop` ends them in order. Roles without
/// containers live in the unit's control group and inherit every wall of it, so what they need stays open: their folders, the
/// network, executable memory, and the calls with which the parser puts up walls of its own.
///
/// `OOMPolicy=continue`: a role the kernel ends for want of memory is the agent's to start again, no reason to end the agent.
/// A supervisor that hangs is ended by the watchdog and started again, however often: the machine may be alone for years.
pub fn unit_text(layout: &Layout) -> String {
    let mut text = format!(
        "[Unit]\n\
         Description=0711 agent: keeps the brain's services running\n\
         Wants=network-online.target\n\
         After=network-online.target local-fs.target remote-fs.target docker.service\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=notify\n\
         NotifyAccess=main\n\
         ExecStart={} agent run\n\
         Restart=always\n\
         RestartSec=2\n\
         TimeoutStartSec=60\n\
         TimeoutStopSec=30\n\
         WatchdogSec=60\n\
         KillMode=process\n\
         RuntimeDirectory=0711\n\
         RuntimeDirectoryMode=0755\n\
         RuntimeDirectoryPreserve=yes\n\
         OOMPolicy=continue\n\
         UMask=0077\n",
        layout.binary().display()
    );
    for line in HARDENING {
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

/// What the agent and its roles give up. Left out on purpose: `MemoryDenyWriteExecute` (kernels are compiled at run time), `PrivateNetwork`
/// and `IPAddressDeny` (administrators may open the console and name servers), `PrivateUsers` (files of the containers' user are given to
/// it), `ProtectProc` and `ProcSubset` (who holds a port is looked up), `DynamicUser` (data outlives the unit).
const HARDENING: [&str; 25] = [
    "NoNewPrivileges=yes",
    // To give files to the containers' user, to read data folders of others, for the parser to become nobody, and for the packet filter
    // to count.
    "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_KILL CAP_NET_ADMIN CAP_SETGID CAP_SETUID",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    // Data folders may lie in somebody's home; nothing is written there.
    "ProtectHome=read-only",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "PrivateMounts=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictNamespaces=yes",
    // Netlink is how the packet filter is asked what it counted, and which rules it has.
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "LockPersonality=yes",
    "KeyringMode=private",
    "RemoveIPC=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    // The parser's own walls; by name, because older versions of systemd do not know the group `@sandbox`.
    "SystemCallFilter=seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self pidfd_open pidfd_send_signal",
    "SystemCallErrorNumber=EPERM",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_the_unit_leaves_the_roles_alone() {
        let text = unit_text(&Layout::system());
        for line in [
            "ExecStart=/opt/0711/bin/0711 agent run",
            "KillMode=process",
            "Type=notify",
            "Restart=always",
            "StartLimitIntervalSec=0",
            "RuntimeDirectoryPreserve=yes",
            "ReadWritePaths=/var/lib/0711 /etc/0711 /run/0711",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(Layout::system().agent_unit().unwrap().file_name().unwrap(), UNIT_NAME);
    }
}
