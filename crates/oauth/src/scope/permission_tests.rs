use super::*;

#[test]
fn canonical_scopes_print_as_they_were_written() {
    for text in [
        "atproto",
        "transition:generic",
        "transition:chat.bsky",
        "transition:email",
        "repo:*",
        "repo:app.bsky.feed.post",
        "repo:app.bsky.feed.post?action=create",
        "repo:*?action=create&action=delete",
        "repo?collection=app.bsky.feed.like&collection=app.bsky.feed.post",
        "rpc:app.bsky.feed.getTimeline?aud=did:web:api.bsky.app%23bsky_appview",
        "rpc:*?aud=did:web:api.bsky.app%23bsky_appview",
        "rpc:app.bsky.feed.getTimeline?aud=*",
        "rpc?lxm=app.bsky.a&lxm=app.bsky.b&aud=*",
        "blob:*/*",
        "blob:image/*",
        "blob?accept=image/*&accept=video/mp4",
        "account:email",
        "account:repo?action=manage",
        "identity:handle",
        "identity:*",
        "include:app.example.authBasic",
        "include:app.example.authBasic?aud=did:web:api.example%23svc",
    ] {
        let scope = Scope::parse(text);
        assert!(!matches!(scope, Scope::Unknown(_)), "{text}");
        assert_eq!(scope.to_string(), text);
    }
}

#[test]
fn other_ways_of_writing_become_canonical() {
    for (written, canonical) in [
        ("repo?collection=app.bsky.feed.post", "repo:app.bsky.feed.post"),
        ("repo:app.bsky.feed.post?action=delete&action=create", "repo:app.bsky.feed.post?action=create&action=delete"),
        ("repo:*?action=create&action=update&action=delete", "repo:*"),
        ("repo?collection=*&collection=app.bsky.feed.post", "repo:*"),
        ("rpc?aud=did%3Aweb%3Aa.example%23s&lxm=app.bsky.a", "rpc:app.bsky.a?aud=did:web:a.example%23s"),
        ("blob:image%2Fpng", "blob:image/png"),
        ("account?attr=email&action=read", "account:email"),
    ] {
        assert_eq!(Scope::parse(written).to_string(), canonical, "{written}");
    }
}

#[test]
fn what_is_not_understood_is_kept_and_grants_nothing() {
    for text in [
        "transition:other",
        "Atproto",
        "openid",
        "repo",
        "repo:",
        "repo:app.bsky.*",
        "repo:app.bsky.feed.post?action=read",
        "repo:app.bsky.feed.post?colour=blue",
        "repo:a.b.c?collection=d.e.f",
        "rpc:app.bsky.feed.getTimeline",
        "rpc:*?aud=*",
        "rpc:app.bsky.a?aud=did:web:x.example",
        "rpc:app.bsky.a?aud=https://x.example",
        "rpc:app.bsky.a?aud=*&aud=*",
        "blob:image",
        "blob:*/png",
        "blob",
        "account:password",
        "account:email?action=delete",
        "identity:did",
        "include:*",
        "include:app.example.x?aud=*",
        "future:thing?x=y",
    ] {
        assert_eq!(Scope::parse(text), Scope::Unknown(text.to_owned()), "{text}");
        assert_eq!(Scope::parse(text).to_string(), text);
    }
}

#[test]
fn covering_follows_the_meaning() {
    for (mine, theirs) in [
        ("repo:*", "repo:app.bsky.feed.post?action=create"),
        ("repo:app.bsky.feed.post", "repo:app.bsky.feed.post?action=delete"),
        ("rpc:*?aud=did:web:a.example%23s", "rpc:app.bsky.a?aud=did:web:a.example%23s"),
        ("rpc:app.bsky.a?aud=*", "rpc:app.bsky.a?aud=did:web:a.example%23s"),
        ("blob:*/*", "blob:image/*"),
        ("blob:image/*", "blob:image/png"),
        ("account:email?action=manage", "account:email"),
        ("identity:*", "identity:handle"),
        ("some:thing", "some:thing"),
    ] {
        assert!(Scope::parse(mine).covers(&Scope::parse(theirs)), "{mine} covers {theirs}");
        assert_eq!(Scope::parse(theirs).covers(&Scope::parse(mine)), mine == theirs, "{theirs} covers {mine}");
    }
    for (mine, theirs) in [
        ("repo:app.bsky.feed.post?action=create", "repo:app.bsky.feed.post?action=update"),
        ("repo:app.bsky.feed.like", "repo:app.bsky.feed.post"),
        ("rpc:app.bsky.a?aud=did:web:a.example%23s", "rpc:app.bsky.a?aud=did:web:b.example%23s"),
        ("blob:image/*", "blob:imagex/png"),
        ("account:repo?action=manage", "account:email"),
        ("transition:generic", "repo:*"),
        ("identity:*", "atproto"),
    ] {
        assert!(!Scope::parse(mine).covers(&Scope::parse(theirs)), "{mine} must not cover {theirs}");
    }
}
