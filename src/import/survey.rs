//! Everything that an import reads: the configuration, the identity's files, the group, the models and what lies beside
//! them. Nothing is written but packages into a temporary folder of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tempfile::TempDir;

use super::models::{self, Bench, Outcome};
use super::report::Finding;
use super::settings::{self, Settings};
use super::tree::{self, Tree, TreeError};
use super::{Obstacle, Obstacles, Order, definitions, group_form};
use crate::config::{self, Config};
use crate::group::{self, Group, Host, ResourceData};
use crate::identity::{Identity, IdentityFiles};
use crate::name::ResourceId;
use crate::problem::Accepted;

/// V1's configuration, in its root.
const CONFIG: &str = "config/config.json";
/// Where V1 keeps the group, in its write directory; the guide writes the second once (L7291).
const GROUPS: [&str; 2] = ["deployment/group/group.json", "deployments/group/group.json"];
/// Where V1 keeps functions, in its write directory (B-13).
const FUNCTIONS: &str = "deployment/lambda";
/// What a folder of pictures holds.
const PICTURES: [&str; 5] = [".jpg", ".jpeg", ".png", ".bmp", ".mjpeg"];

/// What was read.
#[derive(Debug)]
pub struct Survey {
    pub(super) settings: Option<Settings>,
    pub(super) additions: Option<Map<String, Value>>,
    pub(super) document: Value,
    pub(super) group: Group,
    pub(super) models: BTreeMap<ResourceId, Outcome>,
    pub(super) picture_folders: BTreeSet<PathBuf>,
    /// Names of the folders of functions, which are ARNs.
    pub(super) code: Vec<String>,
    pub(super) findings: Vec<Finding>,
    pub(super) bucket: Option<String>,
    /// Removes the packages when dropped.
    _scratch: TempDir,
}

/// Reads what `order` names.
///
/// # Errors
/// Everything that keeps it from being imported, as far as it can be told at once.
pub async fn survey(order: &Order) -> Result<Survey, Obstacles> {
    let mut obstacles = Vec::new();
    let mut findings = Vec::new();
    let root = order.root.as_deref().map(Tree::open).transpose().map_err(|error| Obstacles(vec![error.into()]))?;
    let additions = order.additions.as_deref().and_then(|path| read_additions(path, &mut obstacles));
    let settings = root.as_ref().and_then(|root| read_config(root, &mut findings, &mut obstacles));
    if let (Some(root), Some(settings)) = (&root, &settings) {
        check_identity(root, &settings.config, &mut findings, &mut obstacles);
    }
    let write = root.as_ref().map(|root| open_write(root, settings.as_ref()));
    let write = match write {
        Some(Ok(write)) => Some(write),
        // The group comes from elsewhere, and a device may have no models.
        Some(Err(TreeError::Missing { .. })) if order.definitions.is_some() => None,
        Some(Err(error)) => {
            obstacles.push(error.into());
            None
        }
        None => None,
    };
    let group = read_group(order, write.as_ref(), settings.as_ref(), &mut findings, &mut obstacles);
    let scratch = TempDir::with_prefix("margay-import-");
    let scratch = scratch.map_err(|source| Obstacles(vec![Obstacle::Scratch { source }]))?;
    let (Some((document, group)), []) = (group, obstacles.as_slice()) else { return Err(Obstacles(obstacles)) };

    let models = read_models(order, write.as_ref(), &document, scratch.path(), &mut findings).await;
    let models = models.map_err(|obstacle| Obstacles(vec![obstacle]))?;
    let code = write.as_ref().map_or(Ok(Vec::new()), |write| write.names(Path::new(FUNCTIONS)));
    let code = or_row(code, FUNCTIONS, &mut findings);
    let picture_folders = picture_folders(&group);
    let bucket = order.bucket.clone();
    Ok(Survey {
        settings,
        additions,
        document,
        group,
        models,
        picture_folders,
        code,
        findings,
        bucket,
        _scratch: scratch,
    })
}

fn read_additions(path: &Path, obstacles: &mut Vec<Obstacle>) -> Option<Map<String, Value>> {
    let read = || -> Result<Map<String, Value>, Obstacle> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = Path::new(path.file_name().unwrap_or_default());
        let (text, _) = Tree::open(folder)?.text(name, config::SIZE_LIMIT)?;
        serde_json::from_str(&text).map_err(|source| Obstacle::Json { path: path.to_owned(), source })
    };
    read().map_err(|obstacle| obstacles.push(obstacle)).ok()
}

fn read_config(root: &Tree, findings: &mut Vec<Finding>, obstacles: &mut Vec<Obstacle>) -> Option<Settings> {
    let path = root.root().join(CONFIG);
    let (text, metadata) = match root.text(Path::new(CONFIG), config::SIZE_LIMIT) {
        Ok(read) => read,
        Err(error) => {
            obstacles.push(error.into());
            return None;
        }
    };
    findings.extend(tree::oddity(&metadata).map(|odd| Finding::decision("config.json", odd)));
    match Config::parse(&text, root.root()) {
        Ok(Accepted { document: config, warnings }) => {
            let shown = |problem: &crate::problem::Problem| format!("{}: {}", problem.rule, problem.hint);
            findings.extend(warnings.iter().map(|problem| {
                let subject = if problem.path.is_empty() { "config.json" } else { &problem.path };
                Finding::decision(subject, format!("kept; {}", shown(problem)))
            }));
            let value = serde_json::from_str(&text).unwrap_or_default();
            Some(Settings { value, config })
        }
        Err(problems) => {
            obstacles.push(Obstacle::Refused { path, problems });
            None
        }
    }
}

/// Tries the identity's files where config.json names them or, on another machine than the device, where they lie in the
/// source. The key is held against the certificate, and goes nowhere.
fn check_identity(root: &Tree, config: &Config, findings: &mut Vec<Finding>, obstacles: &mut Vec<Obstacle>) {
    let mut place = |named: &Path| {
        let beside = root.root().join("certs").join(named.file_name().unwrap_or_default());
        if named.exists() || !beside.exists() {
            return named.to_owned();
        }
        let says = format!("is not there on this machine, and lies at {}: kept as V1 named it", beside.display());
        findings.push(Finding::decision(named.display().to_string(), says));
        beside
    };
    let crypto = &config.crypto;
    let files = IdentityFiles {
        certificate: place(&crypto.certificate_path),
        private_key: place(&crypto.private_key_path),
        ca: place(&crypto.ca_path),
    };
    let mode = fs::metadata(&files.private_key).map_or(0, |metadata| metadata.permissions().mode() & 0o7777);
    if mode & 0o007 != 0 {
        findings.push(settings::exposed_key(&files.private_key, mode));
    }
    match Identity::load(&files) {
        Ok(_) => {
            let says = "certificate, key and authorities fit together; they stay where they are, and are not copied";
            findings.push(Finding::works("identity", says));
        }
        Err(error) => obstacles.push(Obstacle::Identity(error)),
    }
}

/// V1's write directory: `ggc` in the root, or wherever `writeDirectory` says.
fn open_write(root: &Tree, settings: Option<&Settings>) -> Result<Tree, TreeError> {
    let write = settings.map_or(root.root().join("ggc"), |settings| settings.config.directories.write.clone());
    Tree::open(&write)
}

fn read_group(
    order: &Order,
    write: Option<&Tree>,
    settings: Option<&Settings>,
    findings: &mut Vec<Finding>,
    obstacles: &mut Vec<Obstacle>,
) -> Option<(Value, Group)> {
    let read = match &order.definitions {
        Some(folder) => read_definitions(folder),
        None => read_deployed(write?, findings).map_err(|obstacle| vec![obstacle]),
    };
    let (path, value) = read.map_err(|found| obstacles.extend(found)).ok()?;
    let joined = group_form::joined(value);
    findings.extend(joined.findings);
    let host = Host {
        thing_arn: settings.map(|settings| &settings.config.core_thing.thing_arn),
        allow_functions_to_run_as_root: settings
            .is_none_or(|settings| settings.config.runtime.allow_functions_to_run_as_root),
        virtual_hosted_s3: false,
    };
    match Group::parse(&joined.document.to_string(), host) {
        Ok(accepted) if accepted.document.core.is_none() => {
            obstacles.push(Obstacle::EmptyGroup { path });
            None
        }
        Ok(accepted) => Some((joined.document, accepted.document)),
        Err(problems) => {
            obstacles.push(Obstacle::Refused { path, problems });
            None
        }
    }
}

fn read_definitions(folder: &Path) -> Result<(PathBuf, Value), Vec<Obstacle>> {
    let tree = Tree::open(folder).map_err(|error| vec![error.into()])?;
    let joined = definitions::join(&tree).map_err(|found| found.into_iter().map(Obstacle::from).collect::<Vec<_>>())?;
    Ok((tree.root().to_owned(), joined))
}

fn read_deployed(write: &Tree, findings: &mut Vec<Finding>) -> Result<(PathBuf, Value), Obstacle> {
    let mut missing = None;
    for place in GROUPS {
        match write.text(Path::new(place), group::SIZE_LIMIT) {
            Ok((text, metadata)) => {
                findings.extend(tree::oddity(&metadata).map(|odd| Finding::decision("group.json", odd)));
                let path = write.root().join(place);
                let value = serde_json::from_str(&text);
                return match value {
                    Ok(value) => Ok((path, value)),
                    Err(source) => Err(Obstacle::Json { path, source }),
                };
            }
            Err(error @ TreeError::Missing { .. }) => missing = missing.or(Some(error)),
            Err(error) => return Err(error.into()),
        }
    }
    let path = write.root().join(GROUPS[0]);
    Err(missing.unwrap_or(TreeError::Missing { path }).into())
}

async fn read_models(
    order: &Order,
    write: Option<&Tree>,
    document: &Value,
    scratch: &Path,
    findings: &mut Vec<Finding>,
) -> Result<BTreeMap<ResourceId, Outcome>, Obstacle> {
    let resources = models::resources(document);
    if let Some(unknown) = order.models.keys().find(|id| !resources.iter().any(|(known, _)| known == *id)) {
        return Err(Obstacle::NoModel { resource: unknown.clone() });
    }
    let (folders, rows) = or_row(write.map_or(Ok(Default::default()), models::folders), models::FOLDER, findings);
    findings.extend(rows);
    let mut outcomes = BTreeMap::new();
    let mut used = BTreeSet::new();
    for (resource, folder) in models::matched(&resources, &folders) {
        let bench = Bench { scratch, resource: &resource };
        let outcome = match (order.models.get(&resource), folder, write) {
            (Some(given), ..) if given.is_dir() => {
                used.extend(given.file_name().and_then(|name| name.to_str()).map(str::to_owned));
                Some(bench.package(&Tree::open(given)?, Path::new("")).await)
            }
            (Some(archive), folder, _) => {
                used.extend(folder.map(str::to_owned));
                Some(Bench::given(archive).await)
            }
            (None, Some(folder), Some(write)) => {
                used.insert(folder.to_owned());
                Some(bench.package(write, &Path::new(models::FOLDER).join(folder)).await)
            }
            _ => None,
        };
        outcomes.extend(outcome.map(|outcome| (resource, outcome)));
    }
    for folder in folders.iter().filter(|folder| !used.contains(*folder)) {
        let path = write.map(|write| write.root().join(models::FOLDER).join(folder)).unwrap_or_default();
        let says = "is a model's folder, and nothing says which resource's: name it, or leave it";
        let command =
            format!("margay import … --model RESOURCE={}", super::report::quoted(&path.display().to_string()));
        findings.push(Finding::decision(format!("{}/{folder}", models::FOLDER), says).with_command(command));
    }
    Ok(outcomes)
}

/// What was read; or nothing, and a row that says why.
fn or_row<T: Default>(read: Result<T, TreeError>, subject: &str, findings: &mut Vec<Finding>) -> T {
    read.unwrap_or_else(|error| {
        findings.push(Finding::will_not(subject, models::spoken(&error)));
        T::default()
    })
}

/// The sources of `group`'s volumes that hold pictures, or are a film of them.
fn picture_folders(group: &Group) -> BTreeSet<PathBuf> {
    let is_picture = |name: &str| PICTURES.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending));
    let shows_pictures = |source: &Path| {
        let named = source.to_string_lossy();
        let is_film = named.ends_with(".mjpeg") || named.ends_with(".mjpg");
        let mut entries = fs::read_dir(source).into_iter().flatten().flatten().take(tree::ENTRY_LIMIT);
        is_film || entries.any(|entry| is_picture(&entry.file_name().to_string_lossy()))
    };
    let volumes = group.resources.iter().filter_map(|resource| match &resource.data {
        ResourceData::LocalVolume(volume) => Some(volume.source.clone()),
        _ => None,
    });
    volumes.filter(|source| shows_pictures(source)).collect()
}
