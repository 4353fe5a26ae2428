// Opens a status page in a browser and prints its content as JSON.
//
//   node status_page.mjs look URL FOLDER    every size and colour, with screenshots
//   node status_page.mjs plain URL ID       without JavaScript, looking for a request
//   node status_page.mjs watch URL PATH     prints "open", waits for PATH to appear
//                                           and then for the end of the service
import { chromium } from "playwright-core";

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } };
const LIMIT_MS = 60_000;

const [task, url, argument] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CLAIMGATE_CHROMIUM,
  // As root, as in a container, Chromium starts without its sandbox only, and
  // there /dev/shm may be too small for it.
  args: ["--disable-dev-shm-usage", ...(process.getuid() === 0 ? ["--no-sandbox"] : [])],
});
try {
  const result = await { look, plain, watch }[task]();
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
}

/** Opens the page and keeps all that should not happen on it. */
async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  const trouble = [];
  const origin = new URL(url).origin;
  page.on("console", (message) => {
    if (message.type() === "error") trouble.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => trouble.push(`script: ${error}`));
  page.on("dialog", (dialog) => {
    trouble.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    const to = request.url();
    if (!to.startsWith("data:") && new URL(to).origin !== origin) trouble.push(`fetches ${to}`);
  });
  await page.goto(url);
  return { context, page, trouble };
}

async function look() {
  const seen = {};
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ["light", "dark"]) {
      const { context, page, trouble } = await open({ viewport, colorScheme });
      const name = `${size}-${colorScheme}`;
      await page.screenshot({ path: `${argument}/${name}.png`, fullPage: true });
      for (const plans of await page.locator("#limits").all()) {
        await plans.screenshot({ path: `${argument}/${name}-plans.png` });
      }
      const facts = await page.evaluate(() => ({
        elements: [...new Set([...document.querySelectorAll("*")].map((e) => e.localName))].sort(),
        handlers: [...document.querySelectorAll("*")].flatMap((e) =>
          e.getAttributeNames().filter((name) => name.startsWith("on")),
        ),
        overflow: document.scrollingElement.scrollWidth - innerWidth,
        text: document.body.innerText,
        back: getComputedStyle(document.body).backgroundColor,
      }));
      // The facts of providers that take more than one line, once unfolded.
      facts.wrapped = await page.evaluate(() => {
        for (const card of document.querySelectorAll("details.card")) card.open = true;
        const lines = (e) => e.clientHeight / parseFloat(getComputedStyle(e).lineHeight);
        const values = [...document.querySelectorAll(".card .facts dd")];
        return values.filter((e) => lines(e) > 1.5).map((e) => e.previousElementSibling.innerText);
      });
      seen[name] = { ...facts, trouble };
      await context.close();
    }
  }
  return seen;
}

async function plain() {
  const { page, trouble } = await open({ javaScriptEnabled: false });
  const first = await page.innerText("body");
  await page.fill("#request-id", argument);
  await page.click("form button");
  await page.waitForSelector("#found");
  return { first, found: await page.innerText("#found"), address: page.url(), trouble };
}

async function watch() {
  const { page, trouble } = await open({});
  await page.fill("#request-id", "half-typed");
  const closed = page.locator("details.card").first();
  await closed.locator("summary").click();
  console.log("open");
  await page.locator("#denials", { hasText: argument }).waitFor();
  const kept = {
    typed: await page.inputValue("#request-id"),
    unfolded: await closed.evaluate((details) => details.open),
  };
  console.log("seen");
  const before = trouble.length;
  await page.locator("body.stale").waitFor();
  return { ...kept, told: await page.innerText("#refresh"), trouble: trouble.slice(0, before) };
}
