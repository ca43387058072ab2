//! The exit codes are a contract with scripts: the table in docs/ and the program agree.

use margay::cli::exit::Code;

#[test]
fn the_documented_exit_codes_are_the_programs() {
    let table = include_str!("../../docs/exit-codes.md");
    let documented: Vec<u8> =
        table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()?.parse().ok()).collect();
    let programs: Vec<u8> = Code::ALL.iter().map(|code| code.number()).collect();
    assert_eq!(documented, programs);
}
