//! Landlock: files by directory, TCP by port (kernel 5.13 and later; ports from 6.7).

use landlock::{
    ABI, Access, AccessFs, AccessNet, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope, path_beneath_rules,
};

use super::{Hold, Policy};

/// The newest rules we ask for; an older kernel enforces those it knows.
const RULES: ABI = ABI::V6;

pub(super) fn restrict(policy: &Policy) -> Hold {
    match try_restrict(policy) {
        Ok(RulesetStatus::FullyEnforced) => Hold::Full,
        Ok(RulesetStatus::PartiallyEnforced) => Hold::Partial,
        Ok(RulesetStatus::NotEnforced) => Hold::Absent("the kernel has no Landlock".to_owned()),
        Err(error) => Hold::Absent(error.to_string()),
    }
}

fn try_restrict(policy: &Policy) -> Result<RulesetStatus, RulesetError> {
    let mut ruleset =
        Ruleset::default().handle_access(AccessFs::from_all(RULES))?.handle_access(AccessNet::from_all(RULES))?;
    if !policy.sockets {
        ruleset = ruleset.scope(Scope::from_all(RULES))?;
    }
    let ports = |ports: &[u16], access: AccessNet| -> Vec<Result<NetPort, RulesetError>> {
        ports.iter().map(|port| Ok(NetPort::new(*port, access))).collect()
    };
    let status = ruleset
        .create()?
        .add_rules(path_beneath_rules(&policy.read, AccessFs::from_read(RULES)))?
        .add_rules(path_beneath_rules(&policy.write, AccessFs::from_all(RULES)))?
        .add_rules(ports(&policy.connect_ports, AccessNet::ConnectTcp))?
        .add_rules(ports(&policy.bind_ports, AccessNet::BindTcp))?
        .restrict_self()?;
    Ok(status.ruleset)
}
