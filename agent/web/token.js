// The person's token, where the server wants one: kept for this tab alone, and never in the address.

import { byId } from "./dom.js";

const KEY = "token";

export const token = () => sessionStorage.getItem(KEY);

export function askForToken(why) {
  byId("token-why").textContent = why;
  byId("sign-in").hidden = false;
  byId("token").focus();
}

export function watchToken() {
  byId("forget-token").hidden = !token();
  byId("forget-token").addEventListener("click", () => {
    sessionStorage.removeItem(KEY);
    byId("composer").reset(); // who comes next need not see it
    location.reload();
  });
  byId("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, byId("token").value.trim());
    location.reload();
  });
}
