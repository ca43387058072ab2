//! The supplementary groups of a worker, from names and owners to ids (B-06, B-15).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::Group;

use super::LaunchError;
use crate::plan::{GroupRule, Plan};

/// Each group once, in ascending order.
pub(super) fn resolve(plan: &Plan) -> Result<Vec<u32>, LaunchError> {
    let mut ids = Vec::new();
    for bind in &plan.binds {
        ids.extend(one(plan, &bind.group, Some(&bind.source))?);
    }
    for device in &plan.devices {
        ids.extend(one(plan, &device.group, Some(&device.path))?);
    }
    for rule in &plan.groups {
        ids.extend(one(plan, rule, None)?);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn one(plan: &Plan, rule: &GroupRule, source: Option<&Path>) -> Result<Option<u32>, LaunchError> {
    let failed = |group: String, source: io::Error| LaunchError::Group { worker: plan.name.clone(), group, source };
    match (rule, source) {
        (GroupRule::Id(id), _) => Ok(Some(*id)),
        (GroupRule::Name(name), _) => by_name(name).map(Some).map_err(|error| failed(format!("group {name}"), error)),
        (GroupRule::OwnerOfSource, Some(path)) => match fs::metadata(path) {
            Ok(found) => Ok(Some(found.gid())),
            Err(error) => Err(failed(format!("the group that owns {}", path.display()), error)),
        },
        (GroupRule::None | GroupRule::OwnerOfSource, _) => Ok(None),
    }
}

fn by_name(name: &str) -> io::Result<u32> {
    let group = Group::from_name(name)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such group"))?;
    Ok(group.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Bind, PlanParts};

    fn resolved(rules: Vec<GroupRule>) -> Result<Vec<u32>, LaunchError> {
        let owned = Bind { group: GroupRule::OwnerOfSource, ..Bind::read_only("/usr", "/model") };
        let parts = PlanParts { name: "w".to_owned(), groups: rules, binds: vec![owned], ..PlanParts::default() };
        resolve(&Plan::new(parts).unwrap())
    }

    #[test]
    fn owners_names_and_ids_become_one_sorted_list() {
        let rules = vec![GroupRule::Id(44), GroupRule::Name("root".to_owned()), GroupRule::None, GroupRule::Id(44)];
        assert_eq!(resolved(rules).unwrap(), [0, 44]);
    }

    #[test]
    fn a_group_that_does_not_exist_is_named() {
        let error = resolved(vec![GroupRule::Name("no-such-group".to_owned())]).unwrap_err();
        assert_eq!(error.to_string(), "worker w: looking up group no-such-group failed");
        assert!(!error.is_retryable());
    }
}
