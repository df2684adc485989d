import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const shop = createClient<paths>({ baseUrl: process.env.SHOP! });
const headers = { authorization: `Bearer ${process.env.TOKEN}` };

const found = await shop.GET("/articles/{id}", { params: { path: { id: 1 } } });
const name: string = found.data!.name;

const missing = await shop.GET("/articles/{id}", { params: { path: { id: 999999 } } });
const created = await shop.POST("/admin/articles", { headers, body: { name: "A chair", price: 900, category: "home-and-garden" } });
const refused = await shop.POST("/account/orders", { headers, body: { lines: [] } });

console.log([name, missing.response.status, created.response.status, refused.response.status].join(", "));
