//! Which claims grant what, and in which types they may come.

use super::*;

fn read(json: &str) -> Option<AccessToken> {
    serde_json::from_str(json).ok()
}

#[test]
fn claims_are_grants() {
    let token = read(
        r#"{"sub":"ann","client_id":"app","scope":"read write","roles":["staff"],"groups":[{"value":"eu","display":"Europe"}],
            "entitlements":["export",{"value":"import"}],"permissions":["edit"],"acr":"2","auth_time":100,"other":1}"#,
    );
    let token = token.expect("claims");
    for (scope, has) in
        [("read", true), ("write", true), ("rea", false), ("", false), ("read write", false)]
    {
        assert_eq!(token.has_scope(scope), has, "{scope}");
    }
    for (role, has) in [("staff", true), ("eu", true), ("Europe", false), ("export", false)] {
        assert_eq!(token.has_role(role), has, "{role}");
    }
    for (permission, has) in [("export", true), ("import", true), ("edit", true), ("staff", false)]
    {
        assert_eq!(token.has_permission(permission), has, "{permission}");
    }
    assert_eq!(token.acr(), Some("2"));
    assert_eq!(token.authenticated_at(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(100)));
    assert!(token.is_authenticated());
}

#[test]
fn an_absent_claim_grants_nothing() {
    let empty = read("{}").expect("claims");
    assert_eq!(empty, AccessToken::default());
    assert!(
        !empty.has_scope("")
            && !empty.has_role("")
            && !empty.has_permission("")
            && empty.acr().is_none()
    );
    assert_eq!(empty.authenticated_at(), None);
}

/// Issuers differ in the types of these claims. A type that is not understood grants nothing, and does not make the token invalid.
#[test]
fn an_optional_claim_of_another_type_refuses_no_token() {
    let roles = |roles: &[&str]| AccessToken {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..AccessToken::default()
    };
    let scope = |scope: &str| AccessToken { scope: scope.to_owned(), ..AccessToken::default() };
    let date = |auth_time| AccessToken { auth_time, ..AccessToken::default() };
    let none = AccessToken::default;
    let table = [
        (r#"{"roles":"admin"}"#, roles(&["admin"])),
        (r#"{"roles":{"value":"admin"}}"#, roles(&["admin"])),
        (r#"{"roles":["admin",1,null,["user"],{"value":"staff"}]}"#, roles(&["admin", "staff"])),
        (r#"{"roles":[{"value":["admin"]}]}"#, none()),
        (r#"{"roles":[{"value":"admin","value":"user"}]}"#, none()),
        (r#"{"roles":[{"display":"admin"}]}"#, none()),
        (r#"{"roles":null}"#, none()),
        (r#"{"roles":1}"#, none()),
        (r#"{"roles":1.5}"#, none()),
        (r#"{"roles":true}"#, none()),
        (r#"{"roles":{"admin":true}}"#, none()),
        (r#"{"groups":null,"entitlements":1,"permissions":{}}"#, none()),
        (r#"{"scope":["read","write"]}"#, scope("read write")),
        (r#"{"scope":["read","write all",1]}"#, scope("read")),
        (r#"{"scope":[]}"#, none()),
        (r#"{"scope":null}"#, none()),
        (r#"{"scope":1}"#, none()),
        (r#"{"scope":{"value":"read"}}"#, none()),
        (r#"{"acr":2}"#, none()),
        (r#"{"acr":["2"]}"#, none()),
        (r#"{"acr":null}"#, none()),
        (r#"{"auth_time":100}"#, date(Some(100))),
        (r#"{"auth_time":100.9}"#, date(Some(100))),
        (r#"{"auth_time":253402300799}"#, date(Some(253_402_300_799))),
        (r#"{"auth_time":253402300800}"#, none()),
        (r#"{"auth_time":18446744073709551615}"#, none()),
        (r#"{"auth_time":1e300}"#, none()),
        (r#"{"auth_time":-1}"#, none()),
        (r#"{"auth_time":"100"}"#, none()),
        (r#"{"auth_time":null}"#, none()),
    ];
    for (json, expected) in table {
        assert_eq!(read(json), Some(expected), "{json}");
    }
    // These two are required, and name a caller.
    for json in [r#"{"sub":1}"#, r#"{"client_id":["app"]}"#] {
        assert_eq!(read(json), None, "{json}");
    }
}

/// What common issuers send in place of the claims of the RFC.
#[test]
fn claims_of_common_issuers_are_grants() {
    let table: &[(&str, [&[&str]; 3])] = &[
        (r#"{"scp":"read write"}"#, [&["read", "write"], &[], &[]]),
        (r#"{"scp":["read","write"]}"#, [&["read", "write"], &[], &[]]),
        (r#"{"scope":"read","scp":["write"]}"#, [&["read", "write"], &[], &[]]),
        (r#"{"permissions":["read"]}"#, [&[], &[], &["read"]]),
        (r#"{"roles":["read"],"groups":["write"]}"#, [&[], &["read", "write"], &[]]),
        (r#"{"cognito:groups":["read"]}"#, [&[], &["read"], &[]]),
        (r#"{"cognito:groups":"read"}"#, [&[], &["read"], &[]]),
        (r#"{"realm_access":{"roles":["read"]}}"#, [&[], &["read"], &[]]),
        (
            r#"{"resource_access":{"a":{"roles":["read"]},"b":{"roles":["x:write","write"]}}}"#,
            [&[], &["a:read", "b:write", "b:x:write"], &[]],
        ),
        // A role of one client is not one of another, and a client whose name has a colon has no short names.
        (
            r#"{"resource_access":{"a:b":{"roles":["write"]},"c":{"roles":["a:read"]}}}"#,
            [&[], &["c:a:read"], &[]],
        ),
        // Shapes that grant nothing.
        (
            r#"{"scp":null,"cognito:groups":null,"realm_access":null,"resource_access":null,"amr":null}"#,
            [&[], &[], &[]],
        ),
        (
            r#"{"realm_access":{"roles":null},"resource_access":{"a":null,"b":{"roles":null}}}"#,
            [&[], &[], &[]],
        ),
        (r#"{"realm_access":["read"],"resource_access":["read"]}"#, [&[], &[], &[]]),
        (r#"{"realm_access":"read","resource_access":"read"}"#, [&[], &[], &[]]),
        (
            r#"{"realm_access":{"roles":{"read":true}},"resource_access":{"a":["read"]}}"#,
            [&[], &[], &[]],
        ),
        (
            r#"{"scp":{"read":true},"amr":[{"method":"password"}],"realm_access":1.5}"#,
            [&[], &[], &[]],
        ),
        (
            r#"{"resource_access":{"a":{"roles":["read"]},"a":{"roles":["write"]}}}"#,
            [&[], &[], &[]],
        ),
        (r#"{"realm_access":{"roles":["read"],"roles":["write"]}}"#, [&[], &[], &[]]),
    ];
    let names = [
        "read",
        "write",
        "a:read",
        "a:write",
        "b:write",
        "b:x:write",
        "a:b:write",
        "c:a:read",
        ":read",
        "a:",
        "",
    ];
    for (json, granted) in table {
        let token = read(json).unwrap_or_else(|| panic!("{json}"));
        let [scopes, roles, permissions] = granted;
        for name in names {
            assert_eq!(token.has_scope(name), scopes.contains(&name), "{json} {name}");
            assert_eq!(token.has_role(name), roles.contains(&name), "{json} {name}");
            assert_eq!(token.has_permission(name), permissions.contains(&name), "{json} {name}");
        }
    }
    let token = read(r#"{"resource_access":{"a:b":{"roles":["write"]}},"amr":["pwd","mfa"]}"#)
        .expect("claims");
    assert!(token.roles_of("a:b").eq(["write"]) && token.roles_of("a").next().is_none());
    assert_eq!(token.amr, ["pwd", "mfa"]);
}

/// With the feature `arbitrary_precision`, which any crate of a build can enable, `serde_json` passes a fraction on as an object.
#[test]
fn a_fraction_is_a_number_in_either_form() {
    for seconds in ["100.9", r#"{"$serde_json::private::Number":"100.9"}"#] {
        let token = read(&format!(r#"{{"auth_time":{seconds}}}"#)).expect("claims");
        assert_eq!(token.auth_time, Some(100), "{seconds}");
    }
}
