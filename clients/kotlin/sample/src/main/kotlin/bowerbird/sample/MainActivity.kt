package bowerbird.sample

import android.content.Intent
import android.net.Uri
import android.os.Bundle
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.browser.customtabs.CustomTabsIntent
import androidx.lifecycle.lifecycleScope
import bowerbird.client.Account
import bowerbird.client.AccountManager
import bowerbird.client.ClientException
import bowerbird.client.Parameter
import bowerbird.client.Removal
import bowerbird.client.Settings
import bowerbird.client.Store
import kotlinx.coroutines.launch

/** Sign in by a Custom Tab, list the accounts, switch, read a timeline, remove. */
class MainActivity : ComponentActivity() {
    private lateinit var manager: AccountManager
    private lateinit var page: LinearLayout
    private var message = ""

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        // Your server, and the scheme that it knows (BOWERBIRD_MOBILE_SCHEME).
        val settings = Settings(
            server = "https://your-app.com",
            redirect = "yourapp://auth-callback",
            namespace = "com.yourapp",
        )
        manager = AccountManager.open(settings, Store.custom(KeystoreStore(applicationContext)))
        page = LinearLayout(this).apply { orientation = LinearLayout.VERTICAL }
        setContentView(ScrollView(this).apply { addView(page) })
        show()
        // The system may have stopped the app while the browser was open: the sign-in goes on all the same.
        if (savedInstanceState == null) completeSignIn(intent)
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        completeSignIn(intent)
    }

    /** 1. Begin, and let the person sign in at their own server. */
    private fun startSignIn(handle: String) = attempt {
        val signIn = manager.beginSignIn(handle)
        CustomTabsIntent.Builder().build().launchUrl(this, Uri.parse(signIn.authUrl))
    }

    /** 2. The kit checks the address, exchanges its code, and stores the session. */
    private fun completeSignIn(intent: Intent) {
        val callback = intent.data ?: return
        attempt {
            val account = manager.completeSignIn(callback.toString())
            message = "Welcome, ${account.handle}."
        }
    }

    /** 3. Switch: at once, without the network. Then call as that account. */
    private fun activate(account: Account) = attempt {
        manager.activate(account.id).use { client ->
            val answer = client.query("app.bsky.feed.getTimeline", listOf(Parameter("limit", "20")))
            message = "Timeline: ${answer.status}, ${answer.body.size} bytes"
        }
    }

    private fun remove(account: Account) = attempt {
        message = when (manager.remove(account.id)) {
            Removal.EVERYWHERE -> "Signed out."
            Removal.ON_THIS_DEVICE -> "Removed here. The server could not be told; it ends the session by itself."
        }
    }

    /** Each error says who must act. */
    private fun attempt(work: suspend () -> Unit) {
        lifecycleScope.launch {
            message = ""
            try {
                work()
            } catch (error: ClientException.SignInRequired) {
                val handle = manager.accounts().find { it.id == error.account }?.handle ?: "this account"
                message = "Please sign in again as $handle."
            } catch (error: ClientException.Refused) {
                message = error.explanation
            } catch (error: ClientException.Callback) {
                message = error.explanation
            } catch (error: ClientException.Offline) {
                message = "The server cannot be reached. Check the connection, then try again."
            } catch (error: ClientException) {
                message = "That did not work. Please try again later."
            }
            show()
        }
    }

    private fun show() {
        page.removeAllViews()
        line(message)
        val active = manager.active()
        line("Active Account: ${active?.handle ?: "none"}")
        for (account in manager.accounts()) {
            val mark = if (account.id == active?.id) "✓ " else ""
            val trouble = if (account.needsSignIn != null) " (sign in again)" else ""
            button("$mark${account.handle}$trouble") { activate(account) }
            button("Remove ${account.handle}") { remove(account) }
        }
        val handle = EditText(this).apply { hint = "alice.bsky.social" }
        page.addView(handle)
        button("Add Account") { startSignIn(handle.text.toString()) }
    }

    private fun line(text: String) = page.addView(TextView(this).apply { this.text = text })

    private fun button(text: String, work: () -> Unit) =
        page.addView(Button(this).apply { this.text = text; setOnClickListener { work() } })
}
