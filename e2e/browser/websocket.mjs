// Opens a WebSocket in a browser and prints as JSON the protocol that was agreed
// on and the first message; null if it is turned away.
//
//   node websocket.mjs URL PROTOCOL…
import { chromium } from "playwright-core";

const [url, ...protocols] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CLAIMGATE_CHROMIUM,
  // As root, as in a container, Chromium starts without its sandbox only, and
  // there /dev/shm may be too small for it.
  args: ["--disable-dev-shm-usage", ...(process.getuid() === 0 ? ["--no-sandbox"] : [])],
});
try {
  const page = await browser.newPage();
  const seen = await page.evaluate(
    ([url, protocols]) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url, protocols);
        socket.onmessage = (event) =>
          resolve({ speaks: socket.protocol, told: JSON.parse(event.data) });
        socket.onclose = () => resolve(null);
      }),
    [url, protocols],
  );
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
