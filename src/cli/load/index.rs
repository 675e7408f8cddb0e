//! `headwater load index`: the page of a folder of loads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::compare;
use super::output::{STDOUT, write};
use crate::cli::fail;
use crate::load::{Index, IndexedRun, limits};

/// The file that is written, and not listed.
const PAGE: &str = "index.html";
/// Extensions of files whose text is shown.
const TEXTS: [&str; 2] = ["txt", "tsv"];

/// Write index.html for a folder of loads: verdicts, main figures, and links to their files
///
/// A load is a file in the folder that --json has written; files of the same name with other
/// extensions belong to it. Other text files are shown in full.
#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the page and prints its path.
pub(super) fn run(args: &IndexArgs) -> ExitCode {
    let page = args.folder.join(PAGE);
    let written = index(&args.folder).and_then(|index| write(&page, Ok(index.to_string())));
    match written.and_then(|()| {
        let said = format!("{}\n", page.display());
        write(Path::new(STDOUT), Ok(said))
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(&text, 1),
    }
}

fn index(folder: &Path) -> Result<Index, String> {
    let cannot = |error| format!("cannot read \"{}\": {error}", folder.display());
    // By name, with all extensions; a name that is not UTF-8 is not that of a load.
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        if !file || name == PAGE || name.starts_with('.') {
            continue;
        }
        let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
        names
            .entry(stem.to_owned())
            .or_default()
            .push(ending.to_owned());
        if names.len() > limits::INDEX_FILES_MAX {
            return Err(format!(
                "\"{}\" has more than {} files: that is not a folder of loads",
                folder.display(),
                limits::INDEX_FILES_MAX
            ));
        }
    }
    let (mut entries, mut others) = (Vec::new(), Vec::new());
    for (name, mut files) in names {
        files.sort();
        let json = folder.join(format!("{name}.json"));
        // The folder may contain JSON files of other programs.
        let load = files
            .iter()
            .any(|ending| ending == "json")
            .then(|| compare::read(&json).ok());
        if let Some(Some(load)) = load {
            entries.push(IndexedRun { name, load, files });
            continue;
        }
        for ending in files {
            let file = match ending.as_str() {
                "" => name.clone(),
                ending => format!("{name}.{ending}"),
            };
            let path = folder.join(&file);
            let shown = TEXTS.contains(&ending.as_str())
                && fs::metadata(&path).is_ok_and(|meta| meta.len() <= limits::INDEX_TEXT_BYTES_MAX);
            let text = shown.then(|| fs::read(&path));
            let text = text.transpose().map_err(cannot)?;
            others.push((
                file,
                text.map(|text| String::from_utf8_lossy(&text).into_owned()),
            ));
        }
    }
    let whole = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let title = whole.file_name().unwrap_or(folder.as_os_str());
    Ok(Index {
        title: title.to_string_lossy().into_owned(),
        entries,
        others,
    })
}
