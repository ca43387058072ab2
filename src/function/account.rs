//! Whom functions run as that the group does not say it of: `ggc_user` and `ggc_group`.

use std::fs;

use margay_sandbox::Account;

/// `ggc_user` and `ggc_group` of this host, or the unprivileged user where the host has none of that name.
pub fn default_account() -> Account {
    let unprivileged = Account::default();
    Account {
        uid: number("/etc/passwd", "ggc_user").unwrap_or(unprivileged.uid),
        gid: number("/etc/group", "ggc_group").unwrap_or(unprivileged.gid),
    }
}

fn number(path: &str, name: &str) -> Option<u32> {
    in_table(&fs::read_to_string(path).ok()?, name)
}

/// The third field of the line of `name` (passwd(5), group(5)).
fn in_table(table: &str, name: &str) -> Option<u32> {
    let fields =
        table.lines().map(|line| line.split(':')).find_map(|mut fields| (fields.next()? == name).then_some(fields));
    fields?.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_name() {
        let table = "root:x:0:0:root:/root:/bin/sh\nggc_user:x:998:997::/:/bin/false\nbad\n";
        assert_eq!(in_table(table, "ggc_user"), Some(998));
        assert_eq!(in_table(table, "ggc"), None);
        assert_eq!(in_table("ggc_group:x:997:\n", "ggc_group"), Some(997));
        assert_eq!(in_table("bad", "bad"), None);
    }
}
