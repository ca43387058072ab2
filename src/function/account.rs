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

/// The user's name, or its number where it has none.
pub(super) fn user_name(uid: u32) -> String {
    name("/etc/passwd", uid)
}

/// The group's name, or its number where it has none.
pub(super) fn group_name(gid: u32) -> String {
    name("/etc/group", gid)
}

fn name(path: &str, number: u32) -> String {
    let table = fs::read_to_string(path).unwrap_or_default();
    name_in_table(&table, number).map_or_else(|| number.to_string(), str::to_owned)
}

/// The first field of the line whose third is `number`.
fn name_in_table(table: &str, number: u32) -> Option<&str> {
    let number = number.to_string();
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then_some(name)
    })
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
    fn an_account_is_found_by_its_name_and_a_name_by_its_number() {
        let table = "root:x:0:0:root:/root:/bin/sh\nggc_user:x:998:997::/:/bin/false\nbad\n";
        assert_eq!(in_table(table, "ggc_user"), Some(998));
        assert_eq!(in_table(table, "ggc"), None);
        assert_eq!(in_table("ggc_group:x:997:\n", "ggc_group"), Some(997));
        assert_eq!(in_table("bad", "bad"), None);
        assert_eq!(name_in_table(table, 998), Some("ggc_user"));
        assert_eq!(name_in_table(table, 9), None);
    }
}
