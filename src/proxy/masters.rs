//! What has been seen of playlists lately: what a player of each has to choose from, and which were complained of.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use super::directives;
use crate::engine::origin::ViewerKey;
use crate::manifest::variables::Variables;
use crate::model::timeline::Choice;

/// Playlists with siblings that are remembered; when the oldest is forgotten, its player is taken for one that can't
/// switch until it loads the master again.
const REMEMBERED: usize = 2048;
/// Playlists that may import variables from their master; when the oldest is forgotten, its player fills them in.
const IMPORTING: usize = 256;
/// Complaints that are remembered; when the oldest is forgotten, it may be repeated.
const COMPLAINTS: usize = 64;

/// Playlists seen lately.
#[derive(Debug, Default)]
pub struct Masters {
    named: Mutex<VecDeque<(ViewerKey, String, Choice)>>,
    complaints: Mutex<VecDeque<String>>,
    imports: Mutex<VecDeque<(ViewerKey, String, Arc<Variables>)>>,
    numbered: Mutex<VecDeque<(ViewerKey, String, String)>>,
}

impl Masters {
    /// A master named this playlist, at which its player has that to choose from.
    pub fn name(&self, viewer: ViewerKey, url: &Url, choice: Choice) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let url = directives::without(url);
        named.retain(|(v, u, _)| *v != viewer || *u != url);
        if named.len() == REMEMBERED {
            named.pop_front();
        }
        named.push_back((viewer, url.into_owned(), choice));
    }

    /// What the player of this playlist has to choose from; nothing, where no master of his is known to name it.
    #[must_use]
    pub fn choice(&self, viewer: ViewerKey, url: &Url) -> Choice {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let url = directives::without(url);
        let found = named.iter().rev().find(|(v, u, _)| *v == viewer && *u == url);
        found.map(|(.., choice)| *choice).unwrap_or_default()
    }

    /// The segments of this playlist, or those of what it names, are known by number; `rendition` is its name.
    pub fn number(&self, viewer: ViewerKey, url: &Url, rendition: String) {
        let mut numbered = self.numbered.lock().unwrap_or_else(PoisonError::into_inner);
        let url = directives::without(url);
        numbered.retain(|(v, u, _)| *v != viewer || *u != url);
        if numbered.len() == REMEMBERED {
            numbered.pop_front();
        }
        numbered.push_back((viewer, url.into_owned(), rendition));
    }

    /// The name of this playlist, if its segments are known by number.
    #[must_use]
    pub fn rendition(&self, viewer: ViewerKey, url: &Url) -> Option<String> {
        let numbered = self.numbered.lock().unwrap_or_else(PoisonError::into_inner);
        let url = directives::without(url);
        let found = numbered.iter().rev().find(|(v, u, _)| *v == viewer && *u == url);
        found.map(|(.., rendition)| rendition.clone())
    }

    /// A master that defines `variables` named this playlist.
    pub fn define(&self, viewer: ViewerKey, url: &Url, variables: &Arc<Variables>) {
        let mut imports = self.imports.lock().unwrap_or_else(PoisonError::into_inner);
        let url = directives::without(url);
        imports.retain(|(v, u, _)| *v != viewer || *u != url);
        if imports.len() == IMPORTING {
            imports.pop_front();
        }
        imports.push_back((viewer, url.into_owned(), Arc::clone(variables)));
    }

    /// What this playlist may import from its master.
    #[must_use]
    pub fn variables(&self, viewer: ViewerKey, url: &Url) -> Arc<Variables> {
        let imports = self.imports.lock().unwrap_or_else(PoisonError::into_inner);
        let url = directives::without(url);
        let found = imports.iter().rev().find(|(v, u, _)| *v == viewer && *u == url);
        found.map(|(.., variables)| Arc::clone(variables)).unwrap_or_default()
    }

    /// Whether nothing has been said of this playlist yet; a live one is read every few seconds.
    #[must_use]
    pub fn is_first_complaint(&self, url: &str) -> bool {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.iter().any(|of| of == url) {
            return false;
        }
        if complaints.len() == COMPLAINTS {
            complaints.pop_front();
        }
        complaints.push_back(url.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::Group;

    #[test]
    fn what_there_is_to_choose_is_known_to_its_viewer_until_others_push_it_out() {
        let masters = Masters::default();
        let url = |n: usize| Url::parse(&format!("http://o.example/{n}.m3u8")).unwrap();
        let (viewer, nothing) = (ViewerKey(1), Choice::default());
        let choice = |n| Choice { group: Some(Group(n)), adaptive: true };
        masters.name(viewer, &url(0), choice(7));
        assert_eq!(masters.choice(viewer, &url(0)), choice(7));
        assert_eq!([(ViewerKey(2), 0), (viewer, 1)].map(|(v, n)| masters.choice(v, &url(n))), [nothing; 2]);
        (1..REMEMBERED).for_each(|n| masters.name(viewer, &url(n), choice(7)));
        masters.name(viewer, &url(0), choice(8));
        masters.name(viewer, &url(REMEMBERED), choice(7));
        assert_eq!(masters.choice(viewer, &url(0)), choice(8), "named again, it is young again");
        assert_eq!(masters.choice(viewer, &url(1)), nothing);
        assert_eq!(masters.named.lock().unwrap().len(), REMEMBERED);
    }

    #[test]
    fn what_is_known_by_number_is_so_for_its_viewer_alone() {
        let masters = Masters::default();
        let url = |n: usize| Url::parse(&format!("http://o.example/{n}.m3u8")).unwrap();
        masters.number(ViewerKey(1), &url(0), "news".into());
        masters.number(ViewerKey(1), &url(0), "sport".into());
        assert_eq!(masters.rendition(ViewerKey(1), &url(0)).as_deref(), Some("sport"));
        assert_eq!(masters.rendition(ViewerKey(2), &url(0)), None);
        (1..=REMEMBERED).for_each(|n| masters.number(ViewerKey(1), &url(n), String::new()));
        assert_eq!(masters.rendition(ViewerKey(1), &url(0)), None);
    }

    /// In a blocking reload a playlist is the same that its master named.
    #[test]
    fn a_playlist_is_known_whatever_is_asked_of_its_origin() {
        let masters = Masters::default();
        let url = Url::parse("http://o.example/v.m3u8?t=1").unwrap();
        let reload = Url::parse("http://o.example/v.m3u8?t=1&_HLS_msn=8&_HLS_part=2").unwrap();
        let viewer = ViewerKey(1);
        let (choice, variables) =
            (Choice { group: Some(Group(7)), adaptive: true }, Arc::new(Variables::default()));
        masters.name(viewer, &url, choice);
        masters.number(viewer, &url, "news".into());
        masters.define(viewer, &url, &variables);
        assert_eq!(masters.choice(viewer, &reload), choice);
        assert_eq!(masters.rendition(viewer, &reload).as_deref(), Some("news"));
        assert!(Arc::ptr_eq(&masters.variables(viewer, &reload), &variables));
    }

    #[test]
    fn a_complaint_is_made_once() {
        let masters = Masters::default();
        assert!(masters.is_first_complaint("a"));
        assert!(!masters.is_first_complaint("a"));
        (0..COMPLAINTS).for_each(|n| assert!(masters.is_first_complaint(&n.to_string())));
        assert!(masters.is_first_complaint("a"), "forgotten");
    }
}
