// The id frames that a stream may begin and end with, taken out of its text:
//
//     {"temp_conversation_id": "temp_..."}            only as the very first line
//     ... the answer's text ...
//     {"final_conversation_id": "mobile-..."}         only as the very last line
//
// In an event stream, each is an event of its own (`data: {...}`). A line elsewhere that looks like one is text: an
// answer can be talked into saying anything. What may yet turn out to be a frame is held back, and nothing else is.

const FRAME_CHARS_MAX = 1024;

/** Takes the id frames out of one answer; `events` says that it is an event stream. */
export class IdFrames {
  /** The last id that a frame told. */
  conversationId: string | null = null;
  private readonly opening: Frame;
  private readonly closing: Frame;
  private held = "";
  private begun = false;
  private atLineStart = true;

  constructor(private readonly events: boolean) {
    this.opening = new Frame("temp_conversation_id", events);
    this.closing = new Frame("final_conversation_id", events);
  }

  /** Take the next piece; give what of the text is certain. */
  push(piece: string): string {
    this.held += piece;
    if (!this.begun && this.openingMayCome()) return "";
    this.takeOpening();
    return this.release(this.certain());
  }

  /** Take note of the answer's end; give the rest of its text. */
  end(): string {
    this.takeOpening();
    const start = this.certain();
    const id = this.closing.idIn(this.held.slice(start));
    if (id === null) return this.release(this.held.length);
    this.conversationId = id;
    this.held = this.held.slice(0, start);
    return this.release(start);
  }

  private openingMayCome(): boolean {
    return !this.held.includes(this.events ? "\n\n" : "\n") && this.opening.mayBe(firstLine(this.held));
  }

  private takeOpening(): void {
    if (this.begun) return;
    this.begun = true;
    const line = firstLine(this.held);
    const id = this.opening.idIn(line);
    if (id === null) return;
    this.conversationId = id;
    this.held = this.held.slice(line.length).replace(this.events ? /^\n{1,2}/ : /^\n/, "");
  }

  /** Say how much of what is held is text for certain: all before the last line that may be the closing frame. */
  private certain(): number {
    const inked = this.held.replace(/\n+$/, "");
    const start = inked.lastIndexOf("\n") + 1;
    const startsLine = start > 0 || this.atLineStart;
    if (inked !== "" && startsLine && this.closing.mayBe(inked.slice(start))) return this.beforeBreak(start);
    return this.held.endsWith("\n") ? this.beforeBreak(this.held.length) : this.held.length;
  }

  /** In plain text, the line break before a frame is the frame's; between events, it is the event's. */
  private beforeBreak(at: number): number {
    return this.events ? at : Math.max(0, at - 1);
  }

  private release(length: number): string {
    const text = this.held.slice(0, length);
    this.held = this.held.slice(length);
    if (text !== "") this.atLineStart = text.endsWith("\n");
    return text;
  }
}

/** A frame: one line that tells one id under one name. */
class Frame {
  private readonly head: string;

  constructor(
    private readonly name: string,
    events: boolean,
  ) {
    this.head = `${events ? "data:" : ""}{"${name}":"`;
  }

  /** Whether a line is this frame, or the beginning of it. */
  mayBe(line: string): boolean {
    const bare = line.replace(/\s/g, "");
    return line.length <= FRAME_CHARS_MAX && (this.head.startsWith(bare) || bare.startsWith(this.head));
  }

  /** Give the id that the frame tells; null where the text is anything else. */
  idIn(text: string): string | null {
    try {
      const told = JSON.parse(text.replace(/^\s*data:/, "")) as Record<string, unknown> | null;
      const id = told?.[this.name];
      return typeof id === "string" ? id : null;
    } catch {
      return null;
    }
  }
}

function firstLine(text: string): string {
  return text.slice(0, (text + "\n").indexOf("\n"));
}
