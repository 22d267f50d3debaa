import { StatusError } from '../errors.ts';
import type { Origin } from '../grpc/local.ts';
import { RecentAnswers } from './answers.ts';
import { type ReportPage, reportPage } from './attention.ts';
import { type Counts, figures } from './figures.ts';
import { type Html, html } from './html.ts';
import { layout } from './layout.ts';
import { type Asked, report } from './report.ts';
import type { Services } from './services.ts';
import { kindNamed } from './status.ts';

/** The page as a whole, with figures and report as they are now; what is live is filled in by the browser. */
export class Overview {
  readonly #services: Services;
  readonly #counts = new RecentAnswers<Counts>(KEEP_MS);
  readonly #reports = new RecentAnswers<ReportPage>(KEEP_MS);

  constructor(services: Services) {
    this.#services = services;
  }

  /** With what the services refuse in place of what they do not tell: `refusal` says what to answer with. */
  async show(
    query: URLSearchParams,
    { peer, ending }: Origin,
  ): Promise<{ page: Html; refusal: StatusError | undefined }> {
    // Others may wait for it when whoever asked first has gone.
    const origin = { peer, ending, signal: new AbortController().signal };
    const asked: Asked = { kind: kindNamed(query.get('status')), from: query.get('from') ?? '' };
    try {
      const { controllers, courses } = this.#services;
      const [counts, page] = await Promise.all([
        this.#counts.get('', async () => {
          const [runs, summary] = await Promise.all([
            controllers.summarizeControllers({}, origin),
            courses.summarizeCourses({}, origin),
          ]);
          return { runs, courses: summary };
        }),
        this.#reports.get(`${asked.kind?.name} ${asked.from}`, () =>
          reportPage(courses, { ...asked, size: PAGE_SIZE }, origin),
        ),
      ]);
      return { page: layout(html`${figures(counts)}`, report(page, counts.courses, asked)), refusal: undefined };
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      const missing = html`<section id="report" aria-labelledby="report-title"><h2 id="report-title">Course report</h2>
<p class="empty" role="alert">${error.message} <a href="/">Try again</a></p></section>`;
      return { page: layout(html`<dl class="figures" id="figures"></dl>`, missing), refusal: error };
    }
  }
}

/** How old what is shown may be: less than what passes between two looks of a browser. */
const KEEP_MS = 2000;

const PAGE_SIZE = 25;
