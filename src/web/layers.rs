// SPDX-License-Identifier: MPL-2.0

//! Checks that the modules of the server depend on each other in layers, without cycles.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Reads the drawing in the documentation of the parent module: each module and its line.
fn drawn_layers(documentation: &str, modules: &BTreeSet<String>) -> BTreeMap<String, usize> {
    let (_, drawing) = documentation
        .split_once("# Layers")
        .and_then(|(_, rest)| rest.split_once("```text"))
        .expect("a drawing");
    let (drawing, _) = drawing.split_once("```").expect("its end");
    let mut layers = BTreeMap::new();
    for (layer, line) in drawing.lines().enumerate() {
        // The description of a layer ends with two spaces, as does each module in it.
        for word in line.split("  ").map(str::trim) {
            if modules.contains(word) {
                let twice = layers.insert(word.to_owned(), layer);
                assert_eq!(twice, None, "{word} is drawn twice");
            }
        }
    }
    layers
}

/// The names that a source imports from the parent module, after `super::` or `crate::web::`.
fn imports(source: &str) -> BTreeSet<String> {
    let code: Vec<_> = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut names = BTreeSet::new();
    for path in ["super::", "crate::web::"] {
        for (start, _) in code.match_indices(path) {
            let rest = &code[start + path.len()..];
            match rest.strip_prefix('{') {
                Some(group) => names.extend(group_names(group)),
                None => names.extend(first_name(rest)),
            }
        }
    }
    names
}

/// The first name in each path of a group, whose opening brace is left out.
fn group_names(group: &str) -> Vec<String> {
    let (mut names, mut depth, mut at_start) = (Vec::new(), 0, true);
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            character if at_start && !character.is_whitespace() => {
                names.extend(first_name(&group[index..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

/// The name that a text begins with; `None` for `*`.
fn first_name(text: &str) -> Option<String> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    let end = text.find(|character| !is_part(character));
    let name = &text[..end.unwrap_or(text.len())];
    (!name.is_empty()).then(|| name.to_owned())
}

#[test]
fn imports_single_or_grouped_are_found() {
    let source = "use super::one;\nuse super::{two::{A, B}, three,\n    four::C};\n\
                  // super::comment\nmod tests {\n    use super::*;\n    use crate::web::five::D;\n}";
    let found: Vec<_> = imports(source).into_iter().collect();
    assert_eq!(found, ["five", "four", "one", "three", "two"]);
}

#[test]
fn modules_import_only_from_layers_below() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web");
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(&directory).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem().and_then(|name| name.to_str());
            let source = fs::read_to_string(&path).expect("a source");
            sources.insert(name.expect("UTF-8").to_owned(), source);
        }
    }
    let parent = sources.remove("mod").expect("mod.rs");
    sources.remove("layers");
    let modules: BTreeSet<_> = sources.keys().cloned().collect();
    let layers = drawn_layers(&parent, &modules);
    let drawn: BTreeSet<_> = layers.keys().cloned().collect();
    assert_eq!(drawn, modules, "every module is drawn");
    for (module, source) in &sources {
        for import in imports(source) {
            // Items of the parent would hide on which module they depend.
            let below = layers.get(&import);
            let below = below.unwrap_or_else(|| panic!("{module} imports {import}: no module"));
            assert!(
                *below > layers[module] || import == *module,
                "{module} imports {import}, which is not below it"
            );
        }
    }
}
