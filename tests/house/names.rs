//! What a source file names: every path in it, read from its tokens.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A path as it is written, or as one leaf of a `use` tree.
pub(crate) struct Named {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// The module it stands in, inline ones included.
    module: Vec<String>,
    imported: bool,
    is_macro: bool,
    /// Under `#[cfg(test)]`.
    pub(crate) in_test: bool,
}

impl Named {
    /// Whether the path begins with a crate of such a name. A lone word is a local thing, unless it is imported.
    pub(crate) fn is_of_crate(&self, is: fn(&str) -> bool) -> bool {
        (self.imported || self.path.len() > 1) && is(&self.path[0])
    }

    /// Whether these segments follow each other somewhere in the path.
    pub(crate) fn has(&self, part: &[&str]) -> bool {
        self.path.windows(part.len()).any(|window| window == part)
    }

    /// Whether it is the call of one of these macros.
    pub(crate) fn is_macro(&self, names: &[&str]) -> bool {
        self.is_macro && self.path.last().is_some_and(|last| names.contains(&last.as_str()))
    }

    /// The path from the crate's root, if it is one of `crate::`, `self::` and `super::`.
    pub(crate) fn within_crate(&self) -> Option<Vec<String>> {
        if !self.imported && self.path.len() < 2 {
            return None;
        }
        let mut base = match self.path[0].as_str() {
            "crate" | "forebay" => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return None,
        };
        for segment in self.path.iter().skip_while(|s| *s == "crate" || *s == "forebay").filter(|s| *s != "self") {
            if segment == "super" {
                base.pop();
            } else {
                base.push(segment.clone());
            }
        }
        Some(base)
    }
}

/// Every path in a file. `module` is the file's own; its text must be Rust.
pub(crate) fn names(text: &str, module: &[String]) -> Result<Vec<Named>, proc_macro2::LexError> {
    let in_test = module.last().is_some_and(|last| last == "tests" || last.ends_with("_tests"));
    let mut names = Vec::new();
    scan(text.parse()?, module, in_test, &mut names);
    Ok(names)
}

fn scan(stream: TokenStream, module: &[String], in_test: bool, names: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    // From `#[cfg(test)]` to the end of the item after it.
    let mut item_in_test = in_test;
    let mut i = 0;
    while let Some(token) = tokens.get(i) {
        let line = token.span().start().line;
        let mut name = |path, imported, is_macro, in_test| {
            names.push(Named { path, line, module: module.to_vec(), imported, is_macro, in_test });
        };
        i += 1;
        match token {
            TokenTree::Group(group) => {
                item_in_test |= group.delimiter() == Delimiter::Bracket
                    && group.stream().to_string().split_whitespace().eq(["cfg", "(test)"]);
                let mut inner = module.to_vec();
                if let [.., TokenTree::Ident(word), TokenTree::Ident(name)] = &tokens[..i - 1]
                    && word == "mod"
                {
                    inner.push(name.to_string());
                }
                scan(group.stream(), &inner, item_in_test, names);
                if group.delimiter() == Delimiter::Brace {
                    item_in_test = in_test;
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => item_in_test = in_test,
            TokenTree::Ident(word) if word == "use" && !is_punct(tokens.get(i), '<') => {
                let end = tokens[i..].iter().position(|t| is_punct(Some(t), ';')).map_or(tokens.len(), |n| i + n);
                leaves(&tokens[i..end], &[], &mut |path| name(path, true, false, item_in_test));
                i = end;
            }
            TokenTree::Ident(word) => {
                let imported = matches!(&tokens[..i - 1],
                    [.., TokenTree::Ident(a), TokenTree::Ident(b)] if a == "extern" && b == "crate");
                let mut path = vec![word.to_string()];
                while let Some([TokenTree::Punct(a), TokenTree::Punct(b), TokenTree::Ident(next)]) =
                    tokens.get(i..i + 3)
                    && (a.as_char(), a.spacing(), b.as_char()) == (':', Spacing::Joint, ':')
                {
                    path.push(next.to_string());
                    i += 3;
                }
                let is_macro = is_punct(tokens.get(i), '!') && matches!(tokens.get(i + 1), Some(TokenTree::Group(_)));
                name(path, imported, is_macro, item_in_test);
            }
            _ => {}
        }
    }
}

/// Every leaf of a `use` tree, with the path to it.
fn leaves(tree: &[TokenTree], prefix: &[String], leaf: &mut impl FnMut(Vec<String>)) {
    for branch in tree.split(|token| is_punct(Some(token), ',')).filter(|branch| !branch.is_empty()) {
        let mut path = prefix.to_vec();
        let mut ends_here = true;
        for token in branch {
            match token {
                TokenTree::Ident(word) if word == "as" => break,
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == '*' => path.push("*".to_owned()),
                TokenTree::Group(group) => {
                    let inner: Vec<_> = group.stream().into_iter().collect();
                    leaves(&inner, &path, leaf);
                    ends_here = false;
                }
                _ => {}
            }
        }
        if ends_here {
            leaf(path);
        }
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}
