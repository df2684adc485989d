//! The shop itself, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_chain::{Error, StatusCode};
use validator::Validate;

#[derive(Clone, JsonSchema, Serialize)]
pub(crate) struct Article {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// In cents.
    pub(crate) price: u32,
    pub(crate) category: Category,
    pub(crate) stock: u32,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Category {
    Books,
    Games,
    HomeAndGarden,
}

impl Category {
    pub(crate) const ALL: [Self; 3] = [Self::Books, Self::Games, Self::HomeAndGarden];
}

/// An article without an id.
#[derive(Deserialize, JsonSchema, Validate)]
pub(crate) struct NewArticle {
    #[validate(length(min = 1, max = 80))]
    name: String,
    /// In cents.
    #[validate(range(min = 1, max = 10_000_000))]
    price: u32,
    category: Category,
}

#[derive(Clone, JsonSchema, Serialize)]
pub(crate) struct Review {
    stars: u8,
    text: String,
}

#[derive(Deserialize, JsonSchema, Validate)]
pub(crate) struct NewReview {
    #[validate(range(min = 1, max = 5))]
    stars: u8,
    #[serde(default)]
    #[validate(length(max = 1000))]
    text: String,
}

#[derive(Clone, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    id: u64,
    total: u64,
    is_cancelled: bool,
    is_paid: bool,
    gift_message: Option<String>,
    #[serde(skip)]
    customer: String,
}

#[derive(Clone)]
pub(crate) struct Shop(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    articles: BTreeMap<u64, Article>,
    reviews: BTreeMap<u64, Vec<Review>>,
    carts: BTreeMap<String, BTreeMap<u64, u8>>,
    orders: BTreeMap<u64, Order>,
    last_id: u64,
}

impl Shop {
    pub(crate) fn new() -> Self {
        let shop = Self(Arc::default());
        for (name, price, category) in [
            ("A novel", 1_200, Category::Books),
            ("A board game", 3_400, Category::Games),
            ("A watering can", 1_950, Category::HomeAndGarden),
        ] {
            let article = shop.add(NewArticle { name: name.to_owned(), price, category });
            let _ = shop.deliver(article.id, 10);
        }
        shop
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn articles(&self, filter: impl Fn(&Article) -> bool) -> Vec<Article> {
        self.state().articles.values().filter(|article| filter(article)).cloned().collect()
    }

    pub(crate) fn article(&self, id: u64) -> Result<Article, Error> {
        self.state().articles.get(&id).cloned().ok_or_else(|| missing("article"))
    }

    pub(crate) fn add(&self, NewArticle { name, price, category }: NewArticle) -> Article {
        let mut state = self.state();
        state.last_id += 1;
        let article = Article { id: state.last_id, name, price, category, stock: 0 };
        state.articles.insert(article.id, article.clone());
        // A public example keeps no more than this.
        if state.articles.len() > 1_000 {
            state.articles.pop_first();
        }
        article
    }

    pub(crate) fn replace(&self, id: u64, new: NewArticle) -> Result<Article, Error> {
        let mut state = self.state();
        let article = state.articles.get_mut(&id).ok_or_else(|| missing("article"))?;
        (article.name, article.price, article.category) = (new.name, new.price, new.category);
        Ok(article.clone())
    }

    pub(crate) fn delete(&self, id: u64) -> Result<(), Error> {
        let mut state = self.state();
        state.reviews.remove(&id);
        state.articles.remove(&id).map(drop).ok_or_else(|| missing("article"))
    }

    pub(crate) fn deliver(&self, id: u64, count: u32) -> Result<(), Error> {
        let mut state = self.state();
        let article = state.articles.get_mut(&id).ok_or_else(|| missing("article"))?;
        article.stock = article.stock.saturating_add(count);
        Ok(())
    }

    pub(crate) fn reviews(&self, id: u64) -> Result<Vec<Review>, Error> {
        self.article(id)?;
        Ok(self.state().reviews.get(&id).cloned().unwrap_or_default())
    }

    pub(crate) fn add_review(&self, id: u64, new: NewReview) -> Result<Review, Error> {
        self.article(id)?;
        let review = Review { stars: new.stars, text: new.text };
        let mut state = self.state();
        let all = state.reviews.entry(id).or_default();
        if all.len() < 100 {
            all.push(review.clone());
        }
        Ok(review)
    }

    pub(crate) fn cart(&self, customer: &str) -> BTreeMap<u64, u8> {
        self.state().carts.get(customer).cloned().unwrap_or_default()
    }

    pub(crate) fn put(&self, customer: &str, article: u64, count: u8) -> Result<(), Error> {
        self.article(article)?;
        self.state().carts.entry(customer.to_owned()).or_default().insert(article, count);
        Ok(())
    }

    pub(crate) fn remove(&self, customer: &str, article: u64) -> Result<(), Error> {
        let mut state = self.state();
        let removed = state.carts.get_mut(customer).and_then(|cart| cart.remove(&article));
        removed.map(drop).ok_or_else(|| missing("item"))
    }

    pub(crate) fn order(
        &self,
        customer: &str,
        lines: impl Iterator<Item = (u64, u8)>,
        gift_message: Option<String>,
    ) -> Result<Order, Error> {
        let mut total = 0;
        for (id, count) in lines {
            total += u64::from(self.article(id)?.price) * u64::from(count);
        }
        let mut state = self.state();
        state.last_id += 1;
        let (id, customer) = (state.last_id, customer.to_owned());
        let order =
            Order { id, total, is_cancelled: false, is_paid: false, gift_message, customer };
        state.orders.insert(id, order.clone());
        if state.orders.len() > 1_000 {
            state.orders.pop_first();
        }
        Ok(order)
    }

    pub(crate) fn orders(&self, customer: &str) -> Vec<Order> {
        let state = self.state();
        state.orders.values().filter(|order| order.customer == customer).cloned().collect()
    }

    pub(crate) fn find_order(&self, customer: &str, id: u64) -> Result<Order, Error> {
        let orders = self.orders(customer);
        orders.into_iter().find(|order| order.id == id).ok_or_else(|| missing("order"))
    }

    pub(crate) fn pay(&self, id: u64) -> Result<(), Error> {
        let mut state = self.state();
        let order = state.orders.get_mut(&id).ok_or_else(|| missing("order"))?;
        order.is_paid = true;
        Ok(())
    }

    pub(crate) fn change_order(
        &self,
        customer: &str,
        id: u64,
        note: Option<String>,
    ) -> Result<Order, Error> {
        self.find_order(customer, id)?;
        let mut state = self.state();
        let order = state.orders.get_mut(&id).ok_or_else(|| missing("order"))?;
        match note {
            Some(note) => order.gift_message = Some(note),
            None => order.is_cancelled = true,
        }
        Ok(order.clone())
    }
}

fn missing(what: &str) -> Error {
    Error::new(StatusCode::NOT_FOUND, format!("There is no such {what}"))
}
