// Verifies a webhook as a partner's server would: `node verify.mjs '{"secrets": […], "headers": {…}, "body": "…"}'`.
import { Webhook } from "standardwebhooks";

const { secrets, headers, body } = JSON.parse(process.argv[2]);
for (const secret of secrets) {
  const payload = new Webhook(secret).verify(body, headers);
  if (payload.type !== "TEST") throw new Error(`verified something else: ${payload.type}`);
  let refused = false;
  try {
    new Webhook(secret).verify(body.replace("TEST", "TEXT"), headers);
  } catch {
    refused = true;
  }
  if (!refused) throw new Error("a changed body was taken");
}
console.log(`verified by ${secrets.length} secrets, refused when changed`);
