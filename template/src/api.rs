//! The chain: which steps and handlers answer a request, and in which order.

use std::time::Duration;

use http::header::LOCATION;
use serde::Deserialize;
use tower_chain::{
    Chain, ChainService, Claims, Error, IntoResponse, Json, Jwt, Path, Provided, RateLimit,
    StatusCode, Valid,
};
use validator::Validate;

use crate::notes::{Note, Notes};

/// The claims of a token that this API reads.
#[derive(Clone, Deserialize)]
pub struct Member {
    sub: String,
}

/// The API, with the settings of its tokens.
pub fn api(jwt: Jwt<Member>) -> ChainService {
    let notes = Chain::new()
        // The limit comes first, so it also counts requests with invalid tokens.
        .use_(RateLimit::per_client(100).every(Duration::from_secs(15 * 60)))
        .use_(jwt)
        .provide(Notes::default())
        .get(list)
        .post(create)
        .at("/{id}", |c| c.get(show).delete(remove));
    Chain::new().at("/health", |c| c.get(async || "ok\n")).mount("/notes", notes).build()
}

#[derive(Deserialize, Validate)]
struct NewNote {
    #[validate(length(min = 1, max = 1000))]
    text: String,
}

async fn list(member: Claims<Member>, notes: Provided<Notes>) -> Json<Vec<Note>> {
    Json(notes.list(&member.sub))
}

async fn create(
    member: Claims<Member>,
    notes: Provided<Notes>,
    Valid(Json(new)): Valid<Json<NewNote>>,
) -> Result<impl IntoResponse, Error> {
    let note = notes
        .add(&member.sub, new.text)
        .ok_or_else(|| Error::new(StatusCode::CONFLICT, "You have too many notes"))?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/notes/{}", note.id))], Json(note)))
}

async fn show(
    member: Claims<Member>,
    notes: Provided<Notes>,
    Path(id): Path<u64>,
) -> Result<Json<Note>, Error> {
    notes.find(&member.sub, id).map(Json).ok_or_else(not_found)
}

async fn remove(
    member: Claims<Member>,
    notes: Provided<Notes>,
    Path(id): Path<u64>,
) -> Result<StatusCode, Error> {
    notes.remove(&member.sub, id).then_some(StatusCode::NO_CONTENT).ok_or_else(not_found)
}

fn not_found() -> Error {
    Error::new(StatusCode::NOT_FOUND, "This note does not exist")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tower_chain::TestClient;
    use tower_chain::middleware::jwt::TestIssuer;

    use super::*;
    use crate::notes::MAX_NOTES;

    /// A client of the API, and tokens of two members.
    fn client() -> (TestClient, String, String) {
        let issuer = TestIssuer::new();
        let client = TestClient::new(api(Jwt::new(issuer.keys())));
        let token = |sub| issuer.token(json!({ "sub": sub }));
        (client, token("ann"), token("bob"))
    }

    #[test]
    fn the_order_of_the_steps_has_no_mistake() {
        api(Jwt::new(TestIssuer::new().keys())).audit().assert_none();
    }

    #[tokio::test]
    async fn a_note_is_created_shown_and_removed() {
        let (client, ann, _) = client();
        let created = client.post("/notes").bearer(&ann).json(&json!({ "text": "milk" }));
        let created = created.send().await;
        created.assert_status(201).assert_header("location", "/notes/1");
        created.assert_json(&json!({ "id": 1, "text": "milk" }));

        let list = client.get("/notes").bearer(&ann).send().await;
        list.assert_status(200).assert_json(&json!([{ "id": 1, "text": "milk" }]));
        client.get("/notes/1").bearer(&ann).send().await.assert_json_at("/text", "milk");
        client.delete("/notes/1").bearer(&ann).send().await.assert_status(204);
        client.get("/notes/1").bearer(&ann).send().await.assert_problem(404);
        client.delete("/notes/1").bearer(&ann).send().await.assert_problem(404);
    }

    #[tokio::test]
    async fn a_note_is_visible_to_its_owner_only() {
        let (client, ann, bob) = client();
        let new = client.post("/notes").bearer(&ann).json(&json!({ "text": "milk" }));
        new.send().await.assert_status(201);
        client.get("/notes").bearer(&bob).send().await.assert_json(&json!([]));
        client.get("/notes/1").bearer(&bob).send().await.assert_problem(404);
        client.delete("/notes/1").bearer(&bob).send().await.assert_problem(404);
        client.get("/notes/1").bearer(&ann).send().await.assert_status(200);
    }

    #[tokio::test]
    async fn a_request_without_a_valid_token_is_refused() {
        let (client, ..) = client();
        let foreign = TestIssuer::ed25519().token(json!({ "sub": "ann" }));
        for path in ["/notes", "/notes/1"] {
            client.get(path).send().await.assert_challenge("Bearer").assert_problem(401);
            client.get(path).bearer(&foreign).send().await.assert_problem(401);
        }
        client.get("/health").send().await.assert_text("ok\n");
    }

    #[tokio::test]
    async fn a_wrong_text_is_reported_by_its_field() {
        let (client, ann, _) = client();
        for text in [String::new(), "a".repeat(1001)] {
            let answer = client.post("/notes").bearer(&ann).json(&json!({ "text": text }));
            answer.send().await.assert_problem(422).assert_field_error("/text", "length");
        }
    }

    #[tokio::test]
    async fn the_notes_of_one_member_are_bounded() {
        let notes = Notes::default();
        for _ in 0..MAX_NOTES {
            notes.add("ann", "milk".to_owned()).expect("there is space");
        }
        assert!(notes.add("ann", "milk".to_owned()).is_none());
        assert!(notes.add("bob", "milk".to_owned()).is_some());
    }

    #[tokio::test]
    async fn the_request_after_a_hundred_is_refused() {
        let (client, ann, _) = client();
        for _ in 0..100 {
            client.get("/notes").bearer(&ann).send().await.assert_status(200);
        }
        client.get("/notes").bearer(&ann).send().await.assert_problem(429);
    }
}
