/*
 * The executable of a plugin: hands the call to the resident engine, or starts the plugin cold.
 *
 * This is the one part of shibafu that is not Python, because Python's start is what the engine saves: this program has
 * ended 0.4 ms after its start. Built statically with musl, which takes less time to load than any other C library.
 * Whatever is in the way before the engine has accepted the call, from a missing socket to a caller that the engine
 * must not serve, ends in a cold start with standard input untouched. After that there is no second try: the input may
 * have been read. plugins/shibafu/engine/protocol.py describes the messages.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* Filled in where the program is put into place (packaging/install/versions.sh), as lines: the folder of the program, which
 * executable this is, the build's id, the engine's socket. Volatile, or the compiler would use what is here now. */
static volatile char place[512] = "@SHIBAFU-PLACE@";

enum { MAX_MESSAGE = 200000, DESCRIPTORS = 7, PATIENCE_MS = 5000 };
/* Why a call does not go to an engine that is there, as in protocol.py. */
enum cold { TOO_LARGE = 1, NO_PROC = 2, NO_DESCRIPTOR = 3 };

struct head {
    char magic[8], build[16];
    uint32_t cold, umask, argc, envc;
    struct rlimit limits[RLIM_NLIMITS];
};

/* What a process of the engine says: a letter, and behind the acceptance its number. */
static struct {
    char word;
    int32_t pid;
} __attribute__((packed)) answer;
static int connection = -1;
static char *home, *program, *build, *path, *called;
static char **arguments;
extern char **environ;

static void read_place(void)
{
    static char copy[sizeof place];
    char *rest = copy;
    for (size_t i = 0; i < sizeof place - 1; i++)
        copy[i] = place[i];
    home = strsep(&rest, "\n");
    program = strsep(&rest, "\n");
    build = strsep(&rest, "\n");
    path = strsep(&rest, "\n");
    if (!path) {
        fputs("this executable has not been installed: run packaging/build.sh\n", stderr);
        exit(1);
    }
}

/* Start the plugin as a process of its own: the interpreter, the plugin's script, the path that the plugin was called
 * by, and its arguments. */
static void start_cold(int argc)
{
    char python[sizeof place + 32], script[sizeof place + 32];
    char **argv = calloc(argc + 5, sizeof *argv);
    if (!argv)
        exit(1);
    snprintf(python, sizeof python, "%s/_internal/python3", home);
    snprintf(script, sizeof script, "%s/_internal/cold/%s", home, program);
    char *front[] = { python, "-ISXutf8", script, called };
    memcpy(argv, front, sizeof front);
    for (int i = 1; i < argc; i++)
        argv[3 + i] = arguments[i];
    execv(python, argv);
    fprintf(stderr, "%s: cannot execute %s: %s\n", program, python, strerror(errno));
    exit(1);
}

/* Connect to the engine; -1 where there is none, or one that is not root's. */
static int connect_engine(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
    struct ucred peer;
    socklen_t size = sizeof peer;
    int engine = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    /* An engine that has stopped with a full queue is not waited for. */
    if (engine < 0 || setsockopt(engine, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ||
        connect(engine, (struct sockaddr *)&address, sizeof address) ||
        getsockopt(engine, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != 0) {
        if (engine >= 0)
            close(engine);
        return -1;
    }
    return engine;
}

/* Wait for a word of the engine's; of an engine that does not answer, ask for nothing more, and then look once again:
 * it either has said it by now, or never will. For the last word it is woken by the end of the connection: to be woken
 * for those before would take time from the call. */
static int is_told(int engine, char word, short event)
{
    struct pollfd wanted = { engine, event, 0 };
    if (poll(&wanted, 1, PATIENCE_MS) == 0 && recv(engine, &answer, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
        shutdown(engine, SHUT_RD);
    return recv(engine, &answer, sizeof answer, 0) > 0 && answer.word == word;
}

/* Append strings to the message; 0 when they do not fit. */
static size_t append(char *message, size_t size, char **strings, size_t count)
{
    for (size_t i = 0; size && i < count; i++) {
        size_t length = strlen(strings[i]) + 1;
        if (size + length > MAX_MESSAGE)
            return 0;
        memcpy(message + size, strings[i], length);
        size += length;
    }
    return size;
}

static int send_call(int engine, int argc)
{
    static char message[MAX_MESSAGE];
    struct head head = { .argc = argc };
    int descriptors[DESCRIPTORS] = { 0, 1, 2 };
    char *names[] = { ".", "/", "/proc/self/ns/net", "/proc/self/ns/mnt" };

    memcpy(head.magic, "shibafu1", sizeof head.magic);
    memcpy(head.build, build, strnlen(build, sizeof head.build));
    head.umask = umask(0);
    umask(head.umask);
    for (int i = 0; i < RLIM_NLIMITS; i++)
        getrlimit(i, &head.limits[i]);
    while (environ[head.envc])
        head.envc++;
    size_t size = append(message, sizeof head, &program, 1);
    size = append(message, size, &called, 1);
    size = append(message, size, arguments + 1, argc - 1);
    size = append(message, size, environ, head.envc);
    if (!size)
        head.cold = TOO_LARGE;
    for (int i = 0; i < 4; i++) {
        descriptors[3 + i] = open(names[i], O_CLOEXEC | (i < 2 ? O_PATH : O_RDONLY));
        if (descriptors[3 + i] < 0)
            head.cold = errno == EMFILE || errno == ENFILE ? NO_DESCRIPTOR : NO_PROC;
    }
    memcpy(message, &head, sizeof head);

    struct iovec part = { message, head.cold ? sizeof head : size };
    char control[CMSG_SPACE(sizeof descriptors)] = { 0 };
    struct msghdr packet = { .msg_iov = &part, .msg_iovlen = 1 };
    if (!head.cold) {
        packet.msg_control = control;
        packet.msg_controllen = sizeof control;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&packet);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof descriptors);
        memcpy(CMSG_DATA(rights), descriptors, sizeof descriptors);
    }
    /* Descriptors that are never received would stay open until the engine ends. */
    return is_told(engine, 'R', POLLIN) && sendmsg(engine, &packet, MSG_NOSIGNAL) == (ssize_t)part.iov_len &&
           !head.cold;
}

/* Ctrl-C: a call that has been accepted undoes what it has done, and answers. Signals that end a plugin at once end
 * this program, and with the connection the call. */
static void interrupt(int number)
{
    int error = errno;
    struct pollfd ended = { connection, POLLRDHUP, 0 };
    if (answer.word != 'A')
        recv(connection, &answer, sizeof answer, MSG_PEEK | MSG_DONTWAIT);
    if (answer.word == 'A') {
        /* A process whose end of the connection is open after its number was looked up has had that number: another one
         * may have it by now if this program was stopped for long. */
        int worker = syscall(SYS_pidfd_open, answer.pid, 0);
        if (worker >= 0 && poll(&ended, 1, 0) == 0)
            syscall(SYS_pidfd_send_signal, worker, number, NULL, 0);
        if (worker >= 0)
            close(worker);
    } else {
        signal(number, SIG_DFL);
        raise(number);
    }
    errno = error;
}

/* Behind an answer there is nothing on standard output, which is read as one document. */
static int report_lost(int is_answered)
{
    const char *what = "the process of the engine that ran this call has ended";
    const char *advice = "delete the container's attachment and try again";
    if (getenv("CNI_COMMAND") && !is_answered)
        printf("{\"cniVersion\": \"1.0.0\", \"code\": 11, \"msg\": \"%s\", \"details\": \"%s\"}\n", what, advice);
    else
        fprintf(stderr, "%s: %s; %s\n", program, what, advice);
    return 1;
}

int main(int argc, char **argv)
{
    unsigned char done[2];
    int is_answered = 0;
    read_place();
    arguments = argv;
    argc = argc < 1 ? 1 : argc; /* the caller may pass no name, either */
    called = (char *)getauxval(AT_EXECFN);
    if (!called)
        called = argv[0];
    for (int i = 0; i < 3; i++)
        if (fcntl(i, F_GETFD) < 0)
            start_cold(argc);
    /* Before the call is sent: it may be done by the time that this program goes on. */
    struct sigaction found;
    if (sigaction(SIGINT, NULL, &found) == 0 && found.sa_handler != SIG_IGN)
        signal(SIGINT, interrupt);
    connection = connect_engine();
    if (connection < 0 || !send_call(connection, argc))
        start_cold(argc);
    if (!is_told(connection, 'A', POLLRDHUP))
        start_cold(argc);
    ssize_t size;
    while (((size = recv(connection, done, sizeof done, 0)) < 0 && errno == EINTR) || (size == 1 && done[0] == 'P'))
        is_answered |= size == 1;
    if (size == 1 && done[0] == 'I') {
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    return size == 2 && done[0] == 'S' ? done[1] : report_lost(is_answered);
}
