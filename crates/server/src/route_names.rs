//! Which route a path belongs to, by its template: for traces, which must not name what people ask for.

/// The templates, in the order of the router.
pub(crate) struct RouteNames(Vec<Template>);

struct Template {
    /// As the router writes it.
    path: &'static str,
    /// As the documentation writes it.
    name: &'static str,
}

impl RouteNames {
    /// Of pairs of the router's and the documentation's way to write a template.
    pub(crate) fn new(routes: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        Self(routes.into_iter().map(|(path, name)| Template { path, name }).collect())
    }

    /// The template of a path, if it has one.
    pub(crate) fn of(&self, path: &str) -> Option<&'static str> {
        self.0.iter().find(|template| fits(template.path, path)).map(|template| template.name)
    }
}

fn fits(template: &str, path: &str) -> bool {
    if template == path {
        return true;
    }
    let mut segments = path.split('/');
    for part in template.split('/') {
        let Some(segment) = segments.next() else { return false };
        if part.starts_with("{*") {
            return !segment.is_empty() || segments.next().is_some();
        }
        let is_filled = part.starts_with('{') && !segment.is_empty();
        if !is_filled && part != segment {
            return false;
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_name_of_its_template() {
        let names = RouteNames::new([
            ("/", "/"),
            ("/login", "/login"),
            ("/api/accounts/{id}/activate", "/api/accounts/{id}/activate"),
            ("/api/accounts/{id}", "/api/accounts/{id}"),
            ("/xrpc/{*nsid}", "/xrpc/{nsid}"),
        ]);
        for (path, name) in [
            ("/", Some("/")),
            ("/login", Some("/login")),
            ("/api/accounts/secret", Some("/api/accounts/{id}")),
            ("/api/accounts/secret/activate", Some("/api/accounts/{id}/activate")),
            ("/xrpc/app.bsky.feed.getTimeline", Some("/xrpc/{nsid}")),
            ("/xrpc/a/b", Some("/xrpc/{nsid}")),
            ("/login/", None),
            ("/login/secret", None),
            ("/api/accounts/", None),
            ("/api/accounts/secret/other", None),
            ("", None),
        ] {
            assert_eq!(names.of(path), name, "{path}");
        }
    }
}
