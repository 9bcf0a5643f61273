/*
 * With which properties of sallyport.conf the process was started, and which of them were changed
 * since.  Control thread.
 */
#ifndef SALLYPORT_GATEWAY_STARTED_H
#define SALLYPORT_GATEWAY_STARTED_H

struct control;

/* At the start: as text in memory, and in the prefix as STARTED_FILE. */
void started_keep(struct control *c);
/* At a reload: reads the file again and logs what differs, as restart_needed. */
void started_tell_of_restart(struct control *c);

#endif
