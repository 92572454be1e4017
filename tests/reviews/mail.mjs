// What html-validate and caniemail's data hold against each HTML text of the JSON list on stdin.
import { readFileSync } from "node:fs";
import { caniemail, formatIssue } from "caniemail";
import { HtmlValidate, StaticConfigLoader } from "html-validate";

const { clients, partly, html: rules } = JSON.parse(process.argv[1]);
const validator = new HtmlValidate(new StaticConfigLoader(rules));

function* findings(html) {
  for (const { messages } of validator.validateStringSync(html).results) {
    for (const { ruleId, message } of messages) yield `${ruleId}: ${message}`;
  }
  const { issues } = caniemail({ clients, html });
  for (const [issueType, byClient] of Object.entries({ error: issues.errors, warning: issues.warnings })) {
    for (const [client, found] of byClient) {
      for (const issue of found) {
        if (issueType === "warning" && issue.title in partly) continue;
        yield formatIssue({ client, issue, issueType }).message;
      }
    }
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map((html) => [...new Set(findings(html))])));
